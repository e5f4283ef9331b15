CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 year'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
-- An order inside of a query means nothing, and does no harm.
SELECT city, count(*) AS n FROM (SELECT * FROM sales ORDER BY amount) GROUP BY city;
