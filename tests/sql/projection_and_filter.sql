CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE result (id BIGINT, twice BIGINT, city TEXT) WITH (connector = 'single_file', path = 'out.json');
INSERT INTO result
SELECT id, amount * 2, city FROM sales WHERE amount >= 50 AND city IS NOT NULL;
