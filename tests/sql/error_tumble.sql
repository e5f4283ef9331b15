-- error: line 7, column 17
-- error: tumble takes a time and an interval, not Utf8
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
SELECT count(*)
FROM a GROUP BY tumble(name, INTERVAL '1 day');
