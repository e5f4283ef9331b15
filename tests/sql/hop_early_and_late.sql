CREATE TABLE clicks (who TEXT, page TEXT, ms BIGINT, at TIMESTAMP NOT NULL, WATERMARK FOR at AS at - INTERVAL '5 seconds')
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
CREATE TABLE early (start TIMESTAMP, who TEXT, n BIGINT) WITH (connector = 'single_file', path = 'early.json', format = 'debezium_json');
CREATE TABLE late (start TIMESTAMP, who TEXT, n BIGINT) WITH (connector = 'single_file', path = 'late.json', format = 'debezium_json');
CREATE TABLE sessions (start TIMESTAMP, until TIMESTAMP, who TEXT, n BIGINT) WITH (connector = 'single_file', path = 'sessions.json', format = 'debezium_json');
CREATE TABLE grown (until TIMESTAMP, n BIGINT) WITH (connector = 'single_file', path = 'grown.json', format = 'debezium_json');
SET emit = 'changes';
INSERT INTO early SELECT window_start, who, count(*) FROM hop(clicks, at, INTERVAL '4 seconds', INTERVAL '10 seconds') GROUP BY window_start, who;
INSERT INTO sessions SELECT session(interval '7 seconds').start, session(interval '7 seconds').end, who, count(*) FROM clicks GROUP BY who, session(interval '7 seconds');
INSERT INTO grown SELECT window_end, count(*) FROM TABLE(CUMULATE(TABLE clicks, DESCRIPTOR(at), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY window_end;
SET emit = 'final'; SET allowed_lateness = '1 minute';
INSERT INTO late SELECT window_start, who, count(*) FROM hop(clicks, at, INTERVAL '4 seconds', INTERVAL '10 seconds') GROUP BY window_start, who;
