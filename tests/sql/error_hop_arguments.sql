-- error: line 5, column 21
-- error: the arguments of hop are not understood
-- error: write hop(t, ts, interval
CREATE TABLE clicks (who TEXT, at TIMESTAMP, WATERMARK FOR at) WITH (connector = 'single_file', path = 'inputs/clicks.csv', format = 'csv');
SELECT * FROM TABLE(hop(TABLE clicks, DESCRIPTOR(at), INTERVAL '1' HOUR));
