CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE quarters (quarter TIMESTAMP, city TEXT, total BIGINT) WITH (connector = 'single_file', path = 'quarters.json');
INSERT INTO quarters SELECT (tumble(interval '3 months')).start AS quarter, city, sum(amount) FROM sales
GROUP BY tumble(interval '3 months'), ROLLUP (city);
