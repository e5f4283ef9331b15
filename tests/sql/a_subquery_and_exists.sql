CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
SELECT person FROM people p WHERE EXISTS (SELECT 1 FROM sales s WHERE s.person = p.person AND s.amount > 50);
SELECT person AS without FROM people p WHERE NOT EXISTS (SELECT 1 FROM sales s WHERE s.person = p.person);
