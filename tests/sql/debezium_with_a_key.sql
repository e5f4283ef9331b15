CREATE TABLE orders (
    id BIGINT PRIMARY KEY, city TEXT DEFAULT 'nowhere' NOT NULL, amount BIGINT NOT NULL,
    twice BIGINT GENERATED ALWAYS AS (amount * 2)
) WITH (connector = 'single_file', path = 'inputs/keyed_changes.jsonl', format = 'debezium_json');
SELECT id, city, twice FROM orders;
CREATE TABLE copy (id BIGINT, city TEXT, PRIMARY KEY (id))
WITH (connector = 'filesystem', path = 'copy', format = 'debezium_json');
INSERT INTO copy SELECT id, city FROM orders;
SELECT city, sum(amount) AS amount FROM orders GROUP BY city;
