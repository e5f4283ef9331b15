-- error: line 4, column 34
-- error: there is no environment variable 'HEADWATER_IS_NOT_THERE'
CREATE TABLE s (n BIGINT)
WITH (connector = 'single_file', path = '{{ HEADWATER_IS_NOT_THERE }}/part-1.jsonl');
SELECT n FROM s;
