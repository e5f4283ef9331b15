-- error: line 3, column 40
-- error: there is no column 'm'
CREATE TABLE s (n BIGINT, b AS n + 1 + m)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT b FROM s;
