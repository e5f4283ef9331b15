CREATE TABLE sales (id BIGINT, amount BIGINT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1 day')
WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SET time_zone = 'Europe/Oslo';
SET emit = 'changes';
SELECT tumble(interval '1 year').start AS year_in_oslo, sum(amount) AS amount FROM sales GROUP BY tumble(interval '1 year');
RESET time_zone;
SET emit TO DEFAULT;
SELECT tumble(interval '1 year').start AS year, sum(amount) AS amount FROM sales GROUP BY tumble(interval '1 year');
RESET ALL;
EXPLAIN SELECT id AS not_run FROM sales;
