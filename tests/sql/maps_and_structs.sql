CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
SELECT 'map' AS q, m['city'] AS city, count(*) AS n FROM (SELECT map(['city', 'person'], [city, person]) AS m FROM sales WHERE city IS NOT NULL) GROUP BY m['city'];
SELECT 'group' AS q, m, count(*) AS n FROM (SELECT map(['person'], [person]) AS m FROM sales) GROUP BY m;
SELECT 'join' AS q, a.person, b.person AS other FROM people a JOIN people b ON a.languages = b.languages AND a.address = b.address;
SELECT 'distinct' AS q, address FROM (SELECT DISTINCT address FROM people);
SELECT 'keys' AS q, map_keys(map(['a', 'b'], [1, 2])) AS k, person FROM people WHERE person = 'ada';
