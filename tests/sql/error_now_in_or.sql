-- error: line 5, column 39
-- error: now() has another value at each moment
CREATE TABLE a (x BIGINT, at TIMESTAMP)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
SELECT x FROM a WHERE x = 1 OR (at <= now());
