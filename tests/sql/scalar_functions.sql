CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE result WITH (connector = 'single_file', path = 'out.json');
INSERT INTO result
SELECT id, upper(person) AS loud, length(city) AS letters, coalesce(city, 'nowhere') AS place, substr(person, 1, 2) AS two,
    amount / 30 AS whole, amount % 30 AS rest, round(amount / 7.0, 2) AS seventh, abs(50 - amount) AS away,
    date_part('year', at) AS year, date_trunc('month', at) AS month, sha256(person) IS NULL AS has_no_hash,
    regexp_replace(person, '[aeiou]', '*', 'g') AS hidden, CAST(amount AS TEXT) || '!' AS text
FROM sales;
