-- error: line 6, column 21
-- error: rows are ranked over a stream without end, which has no final result
CREATE TABLE a (x BIGINT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
SET emit = 'final';
SELECT row_number() OVER (PARTITION BY x ORDER BY at) AS n FROM a;
