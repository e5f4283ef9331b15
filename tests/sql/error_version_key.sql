-- error: line 7, column 25
-- error: 'rates' has versions by its key (currency), so the join compares that
CREATE TABLE orders (id TEXT, country TEXT, at TIMESTAMP, WATERMARK FOR at) WITH (connector = 'single_file', path = 'o.json');
CREATE TABLE rates (currency TEXT PRIMARY KEY, country TEXT, rate DOUBLE, at TIMESTAMP, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'r.json');
SELECT o.id, r.rate
FROM orders o LEFT JOIN rates FOR SYSTEM_TIME AS OF o.at AS r ON o.country = r.country;
