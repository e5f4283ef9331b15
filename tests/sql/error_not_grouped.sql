-- error: line 6, column 14
-- error: 'a.name' is neither in GROUP BY nor in an aggregate function
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
SELECT name, count(*)
FROM a;
