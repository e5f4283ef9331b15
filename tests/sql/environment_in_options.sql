CREATE TABLE parts (n BIGINT, kind TEXT)
WITH (connector = 'single_file', path = '{{ HEADWATER_TEST_FOLDER }}/part-1.jsonl', format = 'json');
CREATE TABLE result (n BIGINT) WITH (connector = 'single_file', path = 'of_{{HEADWATER_TEST_FOLDER}}.json');
INSERT INTO result SELECT n FROM parts;
