-- error: line 6, column 67
-- error: emit_empty = 'true' works for tumble alone
-- error: SET emit_empty = 'false'
CREATE TABLE clicks (who TEXT, at TIMESTAMP, WATERMARK FOR at) WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
SET emit_empty = 'true';
SELECT hop(interval '1 hour', interval '1 day').start FROM clicks GROUP BY hop(interval '1 hour', interval '1 day');
