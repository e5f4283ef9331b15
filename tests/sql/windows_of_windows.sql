CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE VIEW days AS
SELECT tumble(at, INTERVAL '1 day') AS day, person, sum(amount) AS total FROM sales GROUP BY day, person;
SELECT day.start AS day, max(total) AS most FROM days GROUP BY day;
