CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SET emit = 'changes';
SELECT tumble(at, INTERVAL '1 year').start AS year, count(*) AS n FROM sales GROUP BY tumble(at, INTERVAL '1 year');
