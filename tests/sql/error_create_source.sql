-- error: line 3, column 8
-- error: CREATE SOURCE is not supported
CREATE SOURCE s (x BIGINT) WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT x FROM s;
