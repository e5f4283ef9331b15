-- error: line 3, column 24
-- error: the column 'n' is Date32, its value is Boolean
CREATE TABLE s (n DATE DEFAULT true)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT n FROM s;
