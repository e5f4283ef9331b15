-- A list of a group becomes rows: its key no longer determines the rest of the row, in a GROUP BY as in an order.
CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE VIEW ratings AS
SELECT city, unnest(list) AS rating FROM (SELECT city, array_agg(rating ORDER BY rating) AS list FROM sales GROUP BY city);
SELECT city, count(*) AS n FROM ratings GROUP BY city, rating;
SELECT city AS first, rating FROM ratings ORDER BY city, rating DESC NULLS LAST LIMIT 3;
