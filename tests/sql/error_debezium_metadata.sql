-- error: line 3, column 49
-- error: the column 'f' is about one record
CREATE TABLE s (id BIGINT, f TEXT METADATA FROM 'path')
WITH (connector = 'single_file', path = 'inputs/changes.jsonl', format = 'debezium_json');
SELECT id FROM s;
