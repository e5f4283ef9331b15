-- error: line 5, column 38
-- error: the gap of session must be a positive interval of a fixed length
CREATE TABLE clicks (who TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
SELECT count(*) FROM clicks GROUP BY session(interval '1 month');
