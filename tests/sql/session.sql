CREATE TABLE clicks (who TEXT, page TEXT, ms BIGINT, at TIMESTAMP NOT NULL, WATERMARK FOR at AS at - INTERVAL '5 seconds')
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
CREATE TABLE by_expression (start TIMESTAMP, until TIMESTAMP, who TEXT, n BIGINT, ms BIGINT)
WITH (connector = 'single_file', path = 'by_expression.json');
CREATE TABLE flink WITH (connector = 'single_file', path = 'flink.json');
CREATE TABLE everybody WITH (connector = 'single_file', path = 'everybody.json');
INSERT INTO by_expression
SELECT session(interval '7 seconds').start, session(interval '7 seconds').end, who, count(*), sum(ms)
FROM clicks GROUP BY session(interval '7 seconds'), who;
INSERT INTO flink
SELECT who, window_start, window_end, window_time, count(*) AS n
FROM TABLE(SESSION(TABLE clicks PARTITION BY who, DESCRIPTOR(at), INTERVAL '7' SECONDS))
GROUP BY who, window_start, window_end, window_time;
INSERT INTO everybody
SELECT window.start AS start, n FROM (SELECT session(interval '7 seconds') AS window, count(*) AS n FROM clicks GROUP BY 1);
