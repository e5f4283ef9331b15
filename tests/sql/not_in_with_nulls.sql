CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
-- Some cities are null: of a list with a null nobody can say that it lacks something.
SELECT 'any' AS q, person, city FROM sales WHERE city NOT IN (SELECT city FROM sales WHERE amount < 25);
SELECT 'known' AS q, person, city FROM sales WHERE city NOT IN (SELECT city FROM sales WHERE amount < 25 AND city IS NOT NULL);
SELECT 'empty' AS q, person, city FROM sales WHERE city NOT IN (SELECT city FROM sales WHERE amount > 1000);
SELECT 'by person' AS q, p.person FROM people p WHERE 5 NOT IN (SELECT rating FROM sales s WHERE s.person = p.person);
SELECT 'value' AS q, id, rating IN (SELECT rating FROM sales WHERE city = 'Bergen') AS r FROM sales;
