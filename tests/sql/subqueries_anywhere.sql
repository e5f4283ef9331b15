CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
SELECT 'in a list' AS q, p.person, EXISTS (SELECT 1 FROM sales s WHERE s.person = p.person AND s.amount > 60) AS large,
    (SELECT count(*) FROM sales s WHERE s.person = p.person) AS n,
    CASE WHEN p.person IN (SELECT person FROM sales WHERE city = 'Bergen') THEN 'west' ELSE 'elsewhere' END AS side
FROM people p;
SELECT 'or' AS q, id FROM sales s WHERE amount > 85 OR EXISTS (SELECT 1 FROM people p WHERE p.person = s.person AND p.address IS NULL);
SELECT 'having' AS q, person, sum(amount) AS total FROM sales GROUP BY person
HAVING sum(amount) > (SELECT avg(amount) * 2 FROM sales);
SELECT 'on' AS q, p.person, s.id FROM people p LEFT JOIN sales s
    ON s.person = p.person AND s.amount = (SELECT max(amount) FROM sales x WHERE x.person = s.person);
SELECT 'all' AS q, id FROM sales s WHERE amount >= ALL (SELECT amount FROM sales x WHERE x.city = s.city);
SELECT 'any' AS q, id FROM sales s WHERE amount < ANY (SELECT amount FROM sales x WHERE x.person = s.person);
SELECT 'less' AS q, id, (SELECT count(*) FROM sales x WHERE x.amount < s.amount) AS smaller FROM sales s;
SELECT 'first' AS q, person, (SELECT city FROM sales x WHERE x.person = p.person ORDER BY amount DESC LIMIT 1) AS city FROM people p;
SELECT 'argument' AS q, sum((SELECT count(*) FROM sales s WHERE s.person = p.person)) AS n FROM people p;
