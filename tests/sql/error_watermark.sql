-- error: line 5, column 19
-- error: the event time 'x' is Int64, not a TIMESTAMP
CREATE TABLE k (
    x BIGINT,
    WATERMARK FOR x
) WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT x FROM k;
