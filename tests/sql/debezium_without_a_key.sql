CREATE TABLE orders (id BIGINT NOT NULL, city TEXT, amount BIGINT, at TIMESTAMP, WATERMARK FOR at AS at)
WITH (connector = 'single_file', path = 'inputs/changes.jsonl', format = 'debezium_json');
CREATE TABLE result (id BIGINT, city TEXT, amount BIGINT) WITH (connector = 'single_file', path = 'orders.json');
INSERT INTO result SELECT id, city, amount FROM orders;
CREATE TABLE by_city (city TEXT, n BIGINT, amount BIGINT, PRIMARY KEY (city)) WITH (connector = 'sqlite', path = 'by_city.db');
INSERT INTO by_city SELECT city, count(*), sum(amount) FROM orders GROUP BY city;
SELECT tumble(interval '1 month').start AS month, count(*) AS n, sum(amount) AS amount FROM orders
GROUP BY tumble(interval '1 month');
