CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
SELECT 'intersect' AS q, person FROM (SELECT person FROM sales INTERSECT SELECT person FROM people);
SELECT 'except' AS q, city FROM (SELECT city FROM sales EXCEPT SELECT city FROM sales WHERE amount > 60);
SELECT 'intersect all' AS q, city FROM (SELECT city FROM sales WHERE amount > 30 INTERSECT ALL SELECT city FROM sales WHERE amount < 85);
SELECT 'except all' AS q, city FROM (SELECT city FROM sales EXCEPT ALL SELECT city FROM sales WHERE amount > 60);
SELECT 'nested' AS q, person FROM ((SELECT person FROM sales EXCEPT ALL SELECT person FROM people) INTERSECT SELECT person FROM sales WHERE rating = 5);
