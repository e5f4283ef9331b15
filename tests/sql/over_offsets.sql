CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 year'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SELECT id, lag(amount) OVER w AS before, lag(amount, 2, 0) OVER w AS two_before, lead(amount) OVER w AS after,
    first_value(amount) OVER w AS first, last_value(amount) OVER w AS last, nth_value(amount, 2) OVER w AS second,
    amount - coalesce(lag(amount) OVER w, amount) AS change
FROM sales WINDOW w AS (PARTITION BY upper(city) ORDER BY id);
