-- error: line 7, column 7
-- error: there is no connector 'kafka2'
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
CREATE TABLE k (x BIGINT)
WITH (connector = 'kafka2', path = 'x');
SELECT x FROM a;
