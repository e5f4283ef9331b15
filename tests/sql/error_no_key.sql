-- error: line 7, column 8
-- error: can only be appended to
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
CREATE TABLE c (n BIGINT) WITH (connector = 'sqlite', path = 'c.db');
INSERT INTO c SELECT count(*) FROM a;
