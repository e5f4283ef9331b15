CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE result WITH (connector = 'single_file', path = 'out.json');
INSERT INTO result
SELECT id,
    CASE WHEN rating >= 4 THEN 'good' WHEN rating IS NULL THEN 'unknown' ELSE 'poor' END AS verdict,
    CASE city WHEN 'Oslo' THEN 1 WHEN 'Bergen' THEN 2 END AS number,
    nullif(person, 'ada') AS other, rating IN (1, 2) AS low, amount BETWEEN 30 AND 60 AS middle, person LIKE '%o' AS ends_in_o
FROM sales;
