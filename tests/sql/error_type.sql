-- error: line 8, column 7
-- error: the type
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
CREATE TABLE k (
    x BIGINT,
    y GEOMETRY
) WITH (connector = 'single_file', path = 'k.json');
SELECT x FROM a;
