-- error: line 3, column 17
-- error: nothing says which row is newer
CREATE TABLE k (x BIGINT PRIMARY KEY)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT x FROM k;
