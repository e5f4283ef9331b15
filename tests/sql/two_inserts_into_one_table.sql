CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
CREATE TABLE result (who TEXT, n BIGINT) WITH (connector = 'single_file', path = 'out.json');
INSERT INTO result (n, who) SELECT amount, person FROM sales WHERE city = 'Bergen';
INSERT INTO result (who) SELECT person FROM people;
