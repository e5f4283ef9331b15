CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
SELECT l.language, count(*) AS speakers
FROM people AS p CROSS JOIN UNNEST(p.languages) AS l(language)
GROUP BY l.language;
