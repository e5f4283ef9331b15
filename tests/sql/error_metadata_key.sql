-- error: line 3, column 48
-- error: the connector 'single_file' has no metadata 'offset'
CREATE TABLE s (n BIGINT, o TEXT METADATA FROM 'offset')
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT n FROM s;
