-- error: line 6, column
-- error: MATCH_RECOGNIZE is not supported
CREATE TABLE clicks (who TEXT, page TEXT, ms BIGINT, at TIMESTAMP_LTZ(3), WATERMARK FOR at AS at - INTERVAL '5' SECONDS)
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
SELECT * FROM clicks
MATCH_RECOGNIZE (PARTITION BY who ORDER BY at MEASURES a.ms AS before PATTERN (a b) DEFINE b AS b.ms > 10);
