-- error: line 5, column 17
-- error: LIMIT must be a whole number that is not negative
CREATE TABLE a (x BIGINT, at TIMESTAMP)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
SELECT x FROM a LIMIT -1;
