CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
SELECT 'top' AS q, p.person, t.amount FROM people p CROSS JOIN LATERAL (
    SELECT amount FROM sales s WHERE s.person = p.person ORDER BY amount DESC LIMIT 2) t;
SELECT 'total' AS q, p.person, t.n, t.total FROM people p LEFT JOIN LATERAL (
    SELECT count(*) AS n, sum(amount) AS total FROM sales s WHERE s.person = p.person) t ON true;
SELECT 'having' AS q, p.person, t.total FROM people p, LATERAL (
    SELECT sum(amount) AS total FROM sales s WHERE s.person = p.person HAVING count(*) > 2) t;
SELECT 'earlier' AS q, s.id, t.n FROM sales s, LATERAL (SELECT count(*) AS n FROM sales x WHERE x.at < s.at) t;
