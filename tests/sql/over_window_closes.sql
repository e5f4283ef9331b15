CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 year'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
-- The two largest of each quarter, each quarter once, when it closes: an append-only sink takes it.
CREATE TABLE result (quarter TIMESTAMP, person TEXT, total BIGINT, place BIGINT)
WITH (connector = 'single_file', path = 'out.json', format = 'json');
CREATE VIEW per_quarter AS
SELECT tumble(at, INTERVAL '1 quarter') AS w, person, sum(amount) AS total FROM sales GROUP BY 1, 2;
INSERT INTO result
SELECT w.start, person, total, place FROM (
    SELECT *, row_number() OVER (PARTITION BY w ORDER BY total DESC) AS place FROM per_quarter
) WHERE place <= 2;
INSERT INTO result
SELECT w.start, person, sum(total) OVER (PARTITION BY w), 0 FROM per_quarter;
