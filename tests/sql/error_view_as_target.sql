-- error: line 7, column 13
-- error: is a view
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
CREATE VIEW v AS SELECT x FROM a;
INSERT INTO v SELECT x FROM a;
