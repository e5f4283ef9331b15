CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE result (start TIMESTAMP, until TIMESTAMP, city TEXT, n BIGINT) WITH (connector = 'single_file', path = 'out.json');
SET time_zone = 'Europe/Oslo';
INSERT INTO result
SELECT window.start, window.end, city, n
FROM (SELECT tumble(INTERVAL '1 month') AS window, city, count(*) AS n FROM sales GROUP BY window, city);
