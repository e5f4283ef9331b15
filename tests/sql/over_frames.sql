CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 year'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SELECT id,
    sum(amount) OVER (PARTITION BY city ORDER BY id) AS running,
    sum(amount) OVER (PARTITION BY city ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS around,
    avg(amount) OVER (PARTITION BY city ORDER BY id ROWS 1 PRECEDING) AS two,
    count(*) OVER (ORDER BY at RANGE BETWEEN INTERVAL '31 days' PRECEDING AND CURRENT ROW) AS in_a_month,
    max(amount) OVER (PARTITION BY person ORDER BY id GROUPS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS later,
    min(amount) FILTER (WHERE rating > 3) OVER (PARTITION BY city) AS least_good,
    count(*) OVER () AS n
FROM sales;
