CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SET time_zone = 'Europe/Oslo';
SET emit_empty = 'true';
SELECT tumble(at, INTERVAL '1 month').start AS month, count(*) AS n, sum(amount) AS amount
FROM sales GROUP BY tumble(at, INTERVAL '1 month');
