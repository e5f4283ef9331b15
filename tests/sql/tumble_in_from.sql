CREATE TABLE clicks (who TEXT, page TEXT, ms BIGINT, at TIMESTAMP NOT NULL, WATERMARK FOR at AS at - INTERVAL '5 seconds')
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
CREATE TABLE flink WITH (connector = 'single_file', path = 'flink.json');
CREATE TABLE named WITH (connector = 'single_file', path = 'named.json');
CREATE TABLE risingwave WITH (connector = 'single_file', path = 'risingwave.json');
CREATE TABLE rows WITH (connector = 'single_file', path = 'rows.json');
INSERT INTO flink
SELECT w.window_start, w.window_end, w.who, sum(w.ms) AS ms
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(at), INTERVAL '10' SECOND, INTERVAL '3' SECOND)) AS w
GROUP BY w.window_start, w.window_end, w.who;
INSERT INTO named
SELECT window_end, sum(ms) AS ms
FROM TABLE(TUMBLE(DATA => TABLE clicks, TIMECOL => DESCRIPTOR(at), SIZE => INTERVAL '10' SECOND))
GROUP BY window_end;
INSERT INTO risingwave
SELECT window_start, clicks.who, count(*) AS n
FROM tumble(clicks, at, INTERVAL '10 seconds', INTERVAL '3 seconds')
GROUP BY window_start, clicks.who;
INSERT INTO rows SELECT * FROM tumble(clicks, at, INTERVAL '10 seconds') WHERE who = 'ann';
