-- error: line 5, column 38
-- error: the step of cumulate must not be longer than its greatest size
CREATE TABLE clicks (who TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
SELECT count(*) FROM clicks GROUP BY cumulate(interval '2 days', interval '1 day');
