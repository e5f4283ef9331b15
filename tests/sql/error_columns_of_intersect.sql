-- error: line 7, column 22
-- error: INTERSECT queries have different number of columns
CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SELECT id FROM sales INTERSECT SELECT id, city FROM sales;
