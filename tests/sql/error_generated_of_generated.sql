-- error: line 3, column 41
-- error: a generated column cannot use 'b', which is generated too
CREATE TABLE s (n BIGINT, b AS n + 1, c AS b + 1)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT c FROM s;
