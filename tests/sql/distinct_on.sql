CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 year'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SELECT DISTINCT ON (city) city, id, amount FROM sales ORDER BY city, amount DESC;
SELECT DISTINCT ON (person, city) id AS any_of_each, upper(person) AS who FROM sales ORDER BY person, city, id;
