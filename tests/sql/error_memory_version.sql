-- error: line 4, column 33
-- error: the table 'm' has a version, but no PRIMARY KEY
CREATE TABLE s (n BIGINT) WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
CREATE TABLE m (n BIGINT) WITH (version = 'n');
INSERT INTO m SELECT n FROM s;
SELECT n FROM m;
