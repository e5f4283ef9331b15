CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE cities (city TEXT) WITH (connector = 'single_file', path = 'cities.json');
CREATE TABLE buyers (person TEXT) WITH (connector = 'single_file', path = 'buyers.json');
INSERT INTO cities SELECT DISTINCT city FROM sales;
INSERT INTO buyers SELECT person FROM sales s WHERE amount > 80 AND person IN (SELECT person FROM sales WHERE city = 'Oslo');
