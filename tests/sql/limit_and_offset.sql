CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 year'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SELECT id, amount FROM sales ORDER BY amount DESC, id LIMIT 3;
SELECT id AS next_two FROM sales ORDER BY amount DESC, id LIMIT 2 OFFSET 3;
SELECT id AS all_but_eight FROM sales ORDER BY id OFFSET 8 ROWS;
SELECT id AS fetched FROM sales ORDER BY lower(person) NULLS FIRST, id FETCH FIRST 2 ROWS ONLY;
SELECT city AS largest, sum(amount) AS total FROM sales GROUP BY city ORDER BY sum(amount) DESC LIMIT 1;
SELECT count(*) AS n, sum(amount) AS of_five FROM (SELECT amount FROM sales ORDER BY at LIMIT 5);
SELECT id AS none FROM sales LIMIT 0;
