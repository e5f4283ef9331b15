CREATE TABLE anything (value JSON, place TEXT METADATA FROM 'position')
WITH (connector = 'single_file', path = 'inputs/anything.jsonl', format = 'json', 'json.unstructured' = 'true');
SELECT value, place FROM anything;
