CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SELECT 'rollup' AS q, city, person, sum(amount) AS total, grouping(city) AS g, grouping(city, person) AS gg
FROM sales GROUP BY ROLLUP (city, person);
SELECT 'cube' AS q, city, rating, count(*) AS n, count(DISTINCT person) AS people FROM sales GROUP BY CUBE (city, rating) HAVING count(*) > 1;
SELECT 'sets' AS q, city, person, max(city) AS last FROM sales GROUP BY GROUPING SETS ((city), (person), ());
