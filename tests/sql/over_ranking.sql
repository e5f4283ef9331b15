CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 year'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
-- All ranking functions, over partitions and over everything.
SELECT id, city, row_number() OVER w AS n, rank() OVER w AS r, dense_rank() OVER w AS d, percent_rank() OVER w AS p,
    cume_dist() OVER w AS c, ntile(2) OVER w AS half, row_number() OVER (ORDER BY amount DESC, id) AS of_all
FROM sales WINDOW w AS (PARTITION BY city ORDER BY rating DESC NULLS LAST);
