-- error: line 8, column 1
-- error: expected the end of the statement, found 'EMIT'
-- error: SET emit = 'changes' shows it before that
CREATE TABLE clicks (who TEXT, page TEXT, ms BIGINT, at TIMESTAMP_LTZ(3), WATERMARK FOR at AS at - INTERVAL '5' SECONDS)
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
SELECT window_start, count(*) AS n
FROM tumble(clicks, at, INTERVAL '10 seconds') GROUP BY window_start
EMIT ON WINDOW CLOSE;
