-- error: line 7, column 8
-- error: a subquery that looks at 's.id', two queries around it, is not supported
CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SELECT id FROM sales s WHERE EXISTS (SELECT 1 FROM sales x WHERE x.amount = (SELECT max(amount) FROM sales y WHERE y.id < s.id));
