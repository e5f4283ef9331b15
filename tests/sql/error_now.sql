-- error: line 6, column 11
-- error: now() has another value at each moment; it can be compared with a column in WHERE
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
SELECT x, now() FROM a;
