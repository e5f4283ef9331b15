-- error: line 3, column 36
-- error: a default cannot name a column, such as 'n'
CREATE TABLE s (n BIGINT, m BIGINT DEFAULT n + 1)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT m FROM s;
