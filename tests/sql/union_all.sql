CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
CREATE TABLE result (name TEXT, source TEXT) WITH (connector = 'single_file', path = 'out.json');
INSERT INTO result
SELECT person, 'sales' FROM sales WHERE amount > 60
UNION ALL SELECT person, 'people' FROM people
UNION ALL SELECT DISTINCT_NAME, 'again' FROM (SELECT lower(person) AS distinct_name FROM people WHERE person <> 'ada');
