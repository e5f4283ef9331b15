CREATE TABLE clicks (who TEXT, page TEXT, ms BIGINT, at TIMESTAMP NOT NULL, WATERMARK FOR at AS at - INTERVAL '5 seconds')
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
CREATE TABLE of_people WITH (connector = 'single_file', path = 'of_people.json');
CREATE TABLE of_all WITH (connector = 'single_file', path = 'of_all.json');
CREATE TABLE flink WITH (connector = 'single_file', path = 'flink.json');
CREATE TABLE restated (start TIMESTAMP, n BIGINT) WITH (connector = 'single_file', path = 'restated.json', format = 'debezium_json');
SET emit_empty = 'true';
INSERT INTO of_people
SELECT who, tumble(interval '6 seconds').start AS start, count(*) AS n, sum(ms) AS ms FROM clicks
GROUP BY who, tumble(interval '6 seconds');
INSERT INTO of_all
SELECT tumble(interval '6 seconds').start AS start, count(*) AS n, max(page) AS page FROM clicks
GROUP BY tumble(interval '6 seconds');
INSERT INTO flink
SELECT window_start, window_end, count(*) AS n FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(at), INTERVAL '6' SECOND))
GROUP BY window_start, window_end;
SET allowed_lateness = '1 minute';
SET emit = 'final';
INSERT INTO restated
SELECT tumble(interval '2 seconds').start AS start, count(*) AS n FROM clicks GROUP BY tumble(interval '2 seconds');
