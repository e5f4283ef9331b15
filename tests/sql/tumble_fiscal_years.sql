CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE result (start TIMESTAMP, until TIMESTAMP, n BIGINT) WITH (connector = 'single_file', path = 'out.json');
INSERT INTO result
SELECT w.start, w.end, n FROM (
    SELECT tumble(at, INTERVAL '1 year', 'Europe/Oslo', TIMESTAMP '2024-04-01') AS w, count(*) AS n FROM sales GROUP BY w
);
