-- error: line 3, column 36
-- error: a generated column can look at one row alone
CREATE TABLE s (n BIGINT, b BIGINT GENERATED ALWAYS AS (sum(n)))
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT b FROM s;
