CREATE TABLE clicks (who TEXT, page TEXT, ms BIGINT, at TIMESTAMP NOT NULL, WATERMARK FOR at AS at - INTERVAL '5 seconds')
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
CREATE TABLE of_ends WITH (connector = 'single_file', path = 'of_ends.json');
CREATE TABLE of_times WITH (connector = 'single_file', path = 'of_times.json');
CREATE TABLE same WITH (connector = 'single_file', path = 'same.json');
CREATE TABLE of_sessions WITH (connector = 'single_file', path = 'of_sessions.json');
CREATE VIEW small AS
SELECT who, tumble(interval '2 seconds') AS w, sum(ms) AS ms FROM clicks GROUP BY who, w;
CREATE VIEW flink AS
SELECT who, window_start AS start, window_end AS until, window_time AS moment, sum(ms) AS ms
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(at), INTERVAL '2' SECOND))
GROUP BY who, window_start, window_end, window_time;
INSERT INTO of_ends
SELECT tumble(w.end, interval '10 seconds').start AS start, sum(ms) AS ms, count(*) AS n FROM small
GROUP BY tumble(w.end, interval '10 seconds');
INSERT INTO of_times
SELECT window_start, window_end, sum(ms) AS ms, count(*) AS n
FROM TABLE(TUMBLE(TABLE flink, DESCRIPTOR(moment), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;
INSERT INTO same
SELECT start, max(ms) AS most FROM flink GROUP BY start, until;
INSERT INTO of_sessions
SELECT tumble(w.end, interval '1 minute').start AS minute, count(*) AS sessions, sum(n) AS clicks
FROM (SELECT who, session(interval '7 seconds') AS w, count(*) AS n FROM clicks GROUP BY who, w)
GROUP BY tumble(w.end, interval '1 minute');
