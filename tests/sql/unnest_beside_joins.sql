CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
SELECT 'numbered' AS q, p.person, l.language, l.n FROM people p CROSS JOIN UNNEST(p.languages) WITH ORDINALITY AS l(language, n);
SELECT 'join' AS q, s.id, l.language FROM sales s JOIN people p ON s.person = p.person CROSS JOIN UNNEST(p.languages) AS l(language);
SELECT 'kept' AS q, p.person, l.language FROM people p LEFT JOIN UNNEST(p.languages) AS l(language) ON true;
SELECT 'two' AS q, p.person, u.x, u.y FROM people p CROSS JOIN UNNEST(p.languages, make_array(p.person)) AS u(x, y);
SELECT 'deep' AS q, person, unnest(unnest(make_array(languages, make_array(person)))) AS x FROM people;
SELECT 'structs' AS q, person, x['n'] AS n FROM (SELECT person, unnest(make_array(named_struct('n', 1), named_struct('n', 2))) AS x FROM people) u;
