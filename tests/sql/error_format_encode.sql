-- error: line 4, column 1
-- error: expected the end of the statement, found 'FORMAT'
CREATE TABLE clicks (who TEXT) WITH (connector = 'single_file', path = 'inputs/clicks.csv')
FORMAT PLAIN ENCODE JSON;
SELECT * FROM clicks;
