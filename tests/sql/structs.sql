CREATE TABLE people (
    person TEXT, languages TEXT[], address STRUCT<city TEXT, zip TEXT>, born DATE
) WITH (connector = 'single_file', path = 'inputs/people.jsonl', format = 'json');
CREATE TABLE result WITH (connector = 'single_file', path = 'out.json');
INSERT INTO result
SELECT person, address.city AS city, address['zip'] AS zip, people.address.city || '!' AS loud,
    named_struct('a', person, 'b', born).b AS born, languages[1] AS first
FROM people;
