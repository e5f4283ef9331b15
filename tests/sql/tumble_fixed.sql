CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE result (start TIMESTAMP, until TIMESTAMP, n BIGINT, total BIGINT) WITH (connector = 'single_file', path = 'out.json');
INSERT INTO result
SELECT tumble(at, INTERVAL '12 hours').start, tumble(at, INTERVAL '12 hours').end, count(*), sum(amount)
FROM sales GROUP BY tumble(at, INTERVAL '12 hours');
