CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SELECT person, count(DISTINCT city) AS cities, array_agg(amount ORDER BY amount DESC) AS amounts,
    string_agg(city, ', ' ORDER BY id) AS path, first_value(city ORDER BY at DESC) AS last_city,
    max(amount) FILTER (WHERE rating > 3) AS best, bool_or(rating IS NULL) AS unrated, bit_xor(id) AS x,
    median(amount) AS middle, percentile_cont(0.9) WITHIN GROUP (ORDER BY amount) AS high,
    round(stddev(amount), 6) AS spread, round(corr(amount, rating), 6) AS c
FROM sales GROUP BY ALL;
SELECT avg(n) AS mean, max(n) AS most FROM (SELECT city, count(*) AS n FROM sales GROUP BY city);
