-- error: line 5, column 8
-- error: can only be appended to
CREATE TABLE s (n BIGINT) WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
CREATE TABLE k (n BIGINT) WITH (connector = 'single_file', path = 'k.json', format = 'json');
INSERT INTO k SELECT count(*) FROM s;
