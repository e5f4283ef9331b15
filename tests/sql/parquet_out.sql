CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE file (id BIGINT, person TEXT, at TIMESTAMP) WITH (connector = 'parquet', path = 'sales.parquet');
CREATE TABLE folder (city TEXT, amount BIGINT) WITH (connector = 'filesystem', path = 'folder', format = 'parquet');
INSERT INTO file SELECT id, person, at FROM sales;
INSERT INTO folder SELECT city, amount FROM sales;
