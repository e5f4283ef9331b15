-- error: line 5, column 7
-- error: there is no setting 'emitt'
CREATE TABLE s (n BIGINT)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
RESET emitt;
SELECT n FROM s;
