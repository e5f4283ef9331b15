CREATE TABLE visits (group_name TEXT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1 day')
WITH (connector = 'single_file', path = 'inputs/late.csv.gz', format = 'csv', allowed_lateness = '20 days');
CREATE TABLE result (group_name TEXT, month TIMESTAMP, n BIGINT) WITH (connector = 'single_file', path = 'out.json', format = 'debezium_json');
INSERT INTO result
SELECT group_name, tumble(at, INTERVAL '1 month').start, count(*)
FROM visits GROUP BY group_name, tumble(at, INTERVAL '1 month');
