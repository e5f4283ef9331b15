-- error: line 9, column 5
-- error: there is no option 'formatt'
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
CREATE TABLE k (x BIGINT) WITH (
    connector = 'single_file',
    path = 'k.json',
    formatt = 'json'
);
INSERT INTO k SELECT x FROM a;
