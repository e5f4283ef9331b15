-- error: line 5, column 1
-- error: leaves the range of times
CREATE TABLE a (x BIGINT, at TIMESTAMP)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
SELECT x FROM a WHERE at > now() - INTERVAL '900 years';
