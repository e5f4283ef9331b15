-- error: line 3, column 26
-- error: CHECK is not supported
CREATE TABLE s (n BIGINT CHECK (n > 0))
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT n FROM s;
