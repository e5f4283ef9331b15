-- error: line 6, column 19
-- error: the column 'twice' is generated and cannot be written
CREATE TABLE s (n BIGINT) WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
CREATE TABLE k (n BIGINT, twice BIGINT GENERATED ALWAYS AS (n * 2))
WITH (connector = 'single_file', path = 'k.json');
INSERT INTO k (n, twice) SELECT n, n FROM s;
