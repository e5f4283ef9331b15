-- error: line 6, column 51
-- error: there is no field 'begin'
CREATE TABLE a (x BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json');
SELECT count(*), tumble(at, INTERVAL '1 quarter').begin
FROM a GROUP BY tumble(at, INTERVAL '1 quarter');
