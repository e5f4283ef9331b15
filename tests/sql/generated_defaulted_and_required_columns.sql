CREATE TABLE orders (
    id BIGINT NOT NULL, price DOUBLE, quantity BIGINT DEFAULT 1 NOT NULL, at TIMESTAMP,
    state TEXT DEFAULT upper('unknown'),
    total DOUBLE GENERATED ALWAYS AS (price * quantity) STORED,
    day DATE GENERATED ALWAYS AS (CAST(at AS DATE)) VIRTUAL NOT NULL,
    each AS price / quantity
) WITH (connector = 'single_file', path = 'inputs/orders.jsonl', format = 'json');
SELECT id, quantity, state, total, day, each FROM orders;
CREATE TABLE names (state TEXT) WITH (connector = 'single_file', path = 'states.json');
INSERT INTO names SELECT state FROM orders;
