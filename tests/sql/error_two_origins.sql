-- error: line 3, column 26
-- error: two origins
CREATE TABLE s (n BIGINT DEFAULT 1 GENERATED ALWAYS AS (2))
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT n FROM s;
