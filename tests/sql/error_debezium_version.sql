-- error: line 4, column 91
-- error: a change says itself which row is newer
CREATE TABLE s (id BIGINT PRIMARY KEY, v BIGINT)
WITH (connector = 'single_file', path = 'inputs/changes.jsonl', format = 'debezium_json', version = 'v');
SELECT v FROM s;
