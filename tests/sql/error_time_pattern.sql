-- error: line 5, column 8
-- error: 'T' means nothing in the pattern
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
SELECT date_format(at, 'yyyy-MM-ddTHH:mm') AS t FROM a;
