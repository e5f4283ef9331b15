-- error: the column 'o' is METADATA, so 'k' cannot be written
-- error: line 4, column 48
CREATE TABLE s (n BIGINT) WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
CREATE TABLE k (n BIGINT, o TEXT METADATA FROM 'path') WITH (connector = 'single_file', path = 'k.json');
INSERT INTO k SELECT n, 'x' FROM s;
