CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 year'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
-- The rows are long past: what is younger than a thousand years is there, what is younger than a day is not.
SELECT id AS young FROM sales WHERE at > now() - INTERVAL '1 day';
SELECT count(*) AS n FROM sales WHERE at >= now() - INTERVAL '200 years' + INTERVAL '100 years' AND amount > 20;
SELECT city, count(*) AS per_city FROM sales WHERE current_timestamp > at + INTERVAL '1 month' GROUP BY city;
SELECT count(*) AS before_today FROM sales WHERE CAST(at AS DATE) < current_date AND at BETWEEN now() - INTERVAL '100 years' AND now();
SELECT id AS this_month FROM sales WHERE at >= date_trunc('month', now());
