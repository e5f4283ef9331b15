CREATE TABLE orders (
    id BIGINT, at TEXT, price DOUBLE, ts TIMESTAMP GENERATED ALWAYS AS (CAST(at AS TIMESTAMP)),
    WATERMARK FOR ts AS ts - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/orders.jsonl', format = 'json');
SELECT tumble(interval '1 month').start AS month, count(*) AS n, sum(price) AS price FROM orders
GROUP BY tumble(interval '1 month');
