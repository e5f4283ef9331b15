CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
WITH zips AS (SELECT person, address.zip AS zip FROM people)
SELECT person, CAST(CASE WHEN person = 'bo' THEN 'five' ELSE zip END AS BIGINT) AS number FROM zips;
