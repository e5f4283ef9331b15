-- error: line 7, column 49
-- error: format = 'xml' is not understood
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
CREATE TABLE k (x BIGINT) WITH (
    connector = 'single_file', path = 'k.json', format = 'xml'
);
INSERT INTO k SELECT x FROM a;
