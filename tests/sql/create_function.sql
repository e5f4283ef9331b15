-- SQL functions are expressions: they may call each other, have defaults and names, and are right in views and aggregates.
CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE FUNCTION with_tax(amount DOUBLE, rate DOUBLE DEFAULT 0.25) RETURNS DECIMAL(12, 2) LANGUAGE SQL IMMUTABLE RETURN amount * (1 + rate);
CREATE FUNCTION label(id BIGINT, who TEXT) RETURNS TEXT AS $$ SELECT who || ' #' || CAST(id AS TEXT) $$;
CREATE FUNCTION shout(text) RETURNS TEXT STRICT AS 'upper($1) || ''!''';
CREATE FUNCTION loud_label(a BIGINT, b TEXT) RETURNS TEXT RETURN shout(label(a, coalesce(b, 'nobody')));
CREATE FUNCTION hour_of(t TIMESTAMP, zone TEXT) RETURNS INT RETURN extract(hour FROM t AT TIME ZONE zone);
CREATE OR REPLACE FUNCTION label(id BIGINT, who TEXT) RETURNS TEXT RETURN 'new ' || who;
-- A column of the name of a parameter is not mixed up with it.
SELECT id, with_tax(amount) AS taxed, with_tax(amount, rate => 0.1) AS less, with_tax(rate => 0, amount => id) AS free,
    loud_label(id, person) AS loud, shout(city) AS city, label(id + 1, city) AS who, hour_of(at, 'Asia/Tokyo') AS hour
FROM sales WHERE with_tax(amount) > 40;
SELECT id, with_tax(id) FROM sales WHERE id < 3;
CREATE VIEW taxed AS SELECT city, sum(with_tax(amount)) AS total FROM sales GROUP BY city HAVING sum(with_tax(amount)) > 100;
SELECT shout(city) AS city, total FROM taxed;
SELECT with_tax(rating) AS r, count(*) AS n FROM sales GROUP BY with_tax(rating);
-- Watermarks and generated columns may call them too; a quoted name of a parameter keeps its case.
CREATE FUNCTION a_day_before(t TIMESTAMP) RETURNS TIMESTAMP RETURN t - INTERVAL '1 day';
CREATE FUNCTION "Pair"("A" TEXT, b TEXT) RETURNS TEXT RETURN "A" || '&' || b;
CREATE TABLE again (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, at TIMESTAMP, taxed DECIMAL(12, 2) GENERATED ALWAYS AS (with_tax(amount)) STORED,
    WATERMARK FOR at AS a_day_before(at)
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SELECT tumble(interval '1 year').start AS year, sum(taxed) AS taxed, listagg("Pair"(person, city)) AS pairs, every(amount > 5) AS all_more
FROM again WHERE id < 6 GROUP BY tumble(interval '1 year');
