CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 year'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
-- Corrections of a changing input change ranks and sums.
CREATE VIEW totals AS SELECT city, person, sum(amount) AS total FROM sales GROUP BY city, person;
SELECT city, person, total, total * 100 / sum(total) OVER (PARTITION BY city) AS share,
    row_number() OVER (PARTITION BY city ORDER BY total DESC, person) AS n
FROM totals;
