CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 year'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
-- The two largest sales of each city, without their number; and the second and third of all, with it.
SELECT city, id, amount FROM (
    SELECT *, row_number() OVER (PARTITION BY city ORDER BY amount DESC) AS n FROM sales
) WHERE n <= 2 AND amount > 10;
SELECT id AS second_or_third, n FROM (SELECT id, row_number() OVER (ORDER BY amount DESC) AS n FROM sales) WHERE n BETWEEN 2 AND 3;
SELECT id AS first_of_its_day FROM (
    SELECT id, row_number() OVER (PARTITION BY date_trunc('month', at) ORDER BY at) AS n FROM sales
) WHERE 1 = n;
