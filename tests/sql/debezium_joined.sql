CREATE TABLE orders (id BIGINT, city TEXT, amount BIGINT, PRIMARY KEY (id))
WITH (connector = 'single_file', path = 'inputs/keyed_changes.jsonl', format = 'debezium_json');
CREATE TABLE sales (id BIGINT, person TEXT, city TEXT)
WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SELECT o.id, o.amount, s.person, s.id AS sale FROM orders o LEFT JOIN sales s ON o.city = s.city;
