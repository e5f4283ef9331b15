-- error: line 6, column 8
-- error: 'x' is in several inputs
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
SELECT x
FROM a JOIN a AS c ON a.x = c.x;
