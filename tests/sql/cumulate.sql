CREATE TABLE clicks (who TEXT, page TEXT, ms BIGINT, at TIMESTAMP NOT NULL, WATERMARK FOR at AS at - INTERVAL '5 seconds')
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
CREATE TABLE by_expression (start TIMESTAMP, until TIMESTAMP, n BIGINT, ms BIGINT)
WITH (connector = 'single_file', path = 'by_expression.json');
CREATE TABLE flink WITH (connector = 'single_file', path = 'flink.json');
CREATE TABLE named WITH (connector = 'single_file', path = 'named.json');
INSERT INTO by_expression
SELECT w.start, w.end, n, ms FROM (
    SELECT cumulate(interval '10 seconds', interval '30 seconds') AS w, count(*) AS n, sum(ms) AS ms FROM clicks GROUP BY w
);
INSERT INTO flink
SELECT window_start, window_end, who, count(*) AS n
FROM TABLE(CUMULATE(TABLE clicks, DESCRIPTOR(at), INTERVAL '10' SECOND, INTERVAL '30' SECOND))
GROUP BY window_start, window_end, who;
INSERT INTO named
SELECT window_end, count(*) AS n
FROM TABLE(CUMULATE(DATA => TABLE clicks, TIMECOL => DESCRIPTOR(at), STEP => INTERVAL '10' SECOND, SIZE => INTERVAL '30' SECOND))
GROUP BY window_end;
