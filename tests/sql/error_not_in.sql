-- error: line 6, column 1
-- error: NOT IN over columns that may be null is not supported
CREATE TABLE a (x BIGINT) WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'inputs/part-3.jsonl');
CREATE TABLE c (x BIGINT) WITH (connector = 'single_file', path = 'c.jsonl');
INSERT INTO c SELECT x FROM a WHERE x NOT IN (SELECT x FROM b);
