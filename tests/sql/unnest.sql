CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
CREATE TABLE result (person TEXT, language TEXT) WITH (connector = 'single_file', path = 'out.json');
INSERT INTO result
SELECT person, unnest(languages) FROM people;
