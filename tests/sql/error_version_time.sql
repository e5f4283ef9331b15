-- error: line 5, column 14
-- error: 'r' has no event time, so nothing says when a row became valid
CREATE TABLE orders (id TEXT, currency TEXT, at TIMESTAMP, WATERMARK FOR at) WITH (connector = 'single_file', path = 'o.json');
CREATE TABLE rates (currency TEXT, rate DOUBLE) WITH (connector = 'single_file', path = 'r.json');
SELECT o.id, r.rate FROM orders o
JOIN rates FOR SYSTEM_TIME AS OF o.at AS r ON o.currency = r.currency;
