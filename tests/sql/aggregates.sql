CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE result (city TEXT, n BIGINT, people BIGINT, total BIGINT, good BIGINT, mean DOUBLE, least BIGINT, most BIGINT) WITH (connector = 'single_file', path = 'out.json', format = 'debezium_json');
INSERT INTO result
SELECT city, count(*), count(DISTINCT person), sum(amount), count(*) FILTER (WHERE rating >= 4), avg(rating),
    min(amount), max(amount)
FROM sales GROUP BY city;
