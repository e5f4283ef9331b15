CREATE TABLE orders (id TEXT, currency TEXT, amount BIGINT, ordered_at TIMESTAMP,
    WATERMARK FOR ordered_at AS ordered_at - INTERVAL '1 hour')
WITH (connector = 'single_file', path = 'inputs/orders.csv');
CREATE TABLE shipments (order_id TEXT, shipped_at TIMESTAMP,
    WATERMARK FOR shipped_at AS shipped_at - INTERVAL '1 hour')
WITH (connector = 'single_file', path = 'inputs/shipments.csv');
CREATE TABLE rates (currency TEXT, rate DECIMAL(10, 2), valid_from TIMESTAMP)
WITH (connector = 'single_file', path = 'inputs/rates.csv');
CREATE TABLE last_shipment (id TEXT, order_id TEXT) WITH (connector = 'single_file', path = 'last_shipment.json');
CREATE TABLE snowflake (id TEXT, order_id TEXT) WITH (connector = 'single_file', path = 'snowflake.json');
-- Two event times: the answer is final.
INSERT INTO last_shipment SELECT o.id, s.order_id FROM orders o ASOF JOIN shipments s ON o.ordered_at > s.shipped_at;
INSERT INTO snowflake SELECT o.id, s.order_id
FROM orders o ASOF JOIN shipments s MATCH_CONDITION (s.shipped_at <= o.ordered_at);
-- No event time: the answer is corrected.
SELECT o.id, r.rate FROM orders o ASOF JOIN rates r ON o.currency = r.currency AND o.ordered_at >= r.valid_from;
SELECT o.id, r.rate FROM orders o ASOF LEFT JOIN rates r ON o.currency = r.currency AND r.valid_from > o.ordered_at;
SELECT a.id, b.id AS next FROM orders a ASOF LEFT JOIN orders b ON a.amount < b.amount;
