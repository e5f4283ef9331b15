CREATE TABLE clicks (who TEXT, page TEXT, ms BIGINT, at TIMESTAMP NOT NULL, WATERMARK FOR at AS at - INTERVAL '5 seconds')
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
CREATE TABLE with_totals (who TEXT, start TIMESTAMP, n BIGINT, ms BIGINT)
WITH (connector = 'single_file', path = 'with_totals.json', format = 'debezium_json');
CREATE TABLE of_pairs WITH (connector = 'single_file', path = 'of_pairs.json');
CREATE VIEW windowed AS
SELECT who, tumble(interval '10 seconds').start AS start, count(*) AS n FROM clicks
GROUP BY who, tumble(interval '10 seconds');
CREATE VIEW totals AS SELECT who, sum(ms) AS ms FROM clicks GROUP BY who;
INSERT INTO with_totals
SELECT windowed.who, windowed.start, windowed.n, totals.ms FROM windowed JOIN totals ON windowed.who = totals.who;
INSERT INTO of_pairs
SELECT tumble(a.at, interval '10 seconds').start AS start, count(*) AS n
FROM clicks a JOIN clicks b ON a.who = b.who AND b.at BETWEEN a.at - interval '5 seconds' AND a.at
GROUP BY tumble(a.at, interval '10 seconds');
