-- error: line 5, column 30
-- error: hop cannot stand here
-- error: in the select list of a subquery
CREATE TABLE clicks (who TEXT, at TIMESTAMP, WATERMARK FOR at) WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
SELECT who FROM clicks WHERE hop(interval '1 hour', interval '1 day').start > timestamp '2025-01-01';
