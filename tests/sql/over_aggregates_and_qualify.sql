CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 year'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
-- A rank over an aggregate, filtered by QUALIFY.
SELECT city, sum(amount) AS total, rank() OVER (ORDER BY sum(amount) DESC) AS place
FROM sales GROUP BY city QUALIFY rank() OVER (ORDER BY sum(amount) DESC) <= 2;
