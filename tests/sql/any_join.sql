CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
SELECT 'range' AS q, a.id, b.id AS other FROM sales a JOIN sales b ON a.amount < b.amount AND b.amount <= a.amount + 10;
SELECT 'types' AS q, s.id FROM sales s JOIN people p ON length(p.person) = s.rating AND p.person <> s.person;
SELECT 'right semi' AS q, p.person FROM sales s RIGHT SEMI JOIN people p ON s.person = p.person;
SELECT 'right anti' AS q, p.person FROM sales s RIGHT ANTI JOIN people p ON s.person = p.person;
SELECT 'using' AS q, person, s.id, p.born FROM sales s JOIN people p USING (person);
SELECT 'natural' AS q, id, born FROM sales NATURAL JOIN people;
SELECT 'same null' AS q, a.id, b.id AS other FROM sales a JOIN sales b ON (a.rating IS NOT DISTINCT FROM b.rating) AND a.id < b.id;
SELECT 'three' AS q, a.id, b.id AS second, c.id AS third FROM sales a JOIN sales b ON a.person = b.person AND a.at < b.at LEFT JOIN sales c ON b.person = c.person AND b.at < c.at;
