CREATE TABLE clicks (who TEXT, page TEXT, ms BIGINT, at TIMESTAMP NOT NULL, WATERMARK FOR at AS at - INTERVAL '5 seconds')
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
CREATE TABLE by_expression (start TIMESTAMP, until TIMESTAMP, who TEXT, n BIGINT, ms BIGINT)
WITH (connector = 'single_file', path = 'by_expression.json');
CREATE TABLE flink WITH (connector = 'single_file', path = 'flink.json');
CREATE TABLE risingwave WITH (connector = 'single_file', path = 'risingwave.json');
INSERT INTO by_expression
SELECT window.start, window.end, who, n, ms FROM (
    SELECT hop(interval '4 seconds', interval '10 seconds') AS window, who, count(*) AS n, sum(ms) AS ms
    FROM clicks GROUP BY window, who
);
INSERT INTO flink
SELECT window_start, window_end, who, count(*) AS n, sum(ms) AS ms
FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(at), INTERVAL '4' SECONDS, INTERVAL '10' SECONDS))
GROUP BY window_start, window_end, who;
INSERT INTO risingwave
SELECT window_start, who, count(*) AS n, sum(ms) AS ms
FROM hop(clicks, at, INTERVAL '4 seconds', INTERVAL '10 seconds')
GROUP BY who, window_start;
