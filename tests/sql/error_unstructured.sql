-- error: line 3, column 1
-- error: json.unstructured keeps a whole line, which needs exactly one column of text
CREATE TABLE s (n BIGINT, value TEXT)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', json.unstructured = 'true');
SELECT n FROM s;
