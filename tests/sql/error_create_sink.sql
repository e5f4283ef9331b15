-- error: line 4, column 8
-- error: CREATE SINK is not supported
CREATE TABLE s (n BIGINT) WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
CREATE SINK k AS SELECT n FROM s WITH (connector = 'blackhole');
