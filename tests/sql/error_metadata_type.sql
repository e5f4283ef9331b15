-- error: line 3, column 50
-- error: the metadata 'path' is text, the column is Int64
CREATE TABLE s (n BIGINT, o BIGINT METADATA FROM 'path')
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT n FROM s;
