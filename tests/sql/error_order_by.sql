-- error: line 8, column 1
-- error: ORDER BY without LIMIT is not supported
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
INSERT INTO b
SELECT x FROM a
ORDER BY x;
