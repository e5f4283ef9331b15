-- error: line 6, column 14
-- error: 'a' is declared already, in line 3
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
CREATE TABLE a (y BIGINT) WITH (connector = 'blackhole');
SELECT x FROM a;
