CREATE TABLE sales (id BIGINT, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP)
WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE)
WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
CREATE TABLE numbers (small SMALLINT, price DECIMAL(5, 2), label TEXT, day DATE, truth BOOLEAN, at TEXT)
WITH (connector = 'single_file', path = 'numbers.json', format = 'json');
INSERT INTO numbers SELECT amount * 400, rating, id, at, rating > 3, at FROM sales;
CREATE TABLE texts (number BIGINT, at TIMESTAMP, price DECIMAL(4, 1))
WITH (connector = 'single_file', path = 'texts.json', format = 'json');
INSERT INTO texts SELECT address.zip, CAST(born AS TEXT), CASE WHEN person = 'bo' THEN '12345.6' ELSE '1.25' END FROM people;
CREATE TABLE nested (spoken VARCHAR[], place STRUCT<city VARCHAR, zip BIGINT>)
WITH (connector = 'single_file', path = 'nested.json', format = 'json');
INSERT INTO nested SELECT languages, address FROM people;
