CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
CREATE TABLE everybody (who TEXT, what TEXT) WITH (connector = 'single_file', path = 'all.json');
CREATE TABLE names (who TEXT, what TEXT);
INSERT INTO names SELECT person, 'sale' FROM sales WHERE amount > 75;
INSERT INTO names SELECT person, 'person' FROM people;
INSERT INTO everybody SELECT who, what FROM names;
SELECT what, count(*) AS n FROM names GROUP BY what;
