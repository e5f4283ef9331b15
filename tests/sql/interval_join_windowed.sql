CREATE TABLE orders (id TEXT, currency TEXT, amount BIGINT, ordered_at TIMESTAMP,
    WATERMARK FOR ordered_at AS ordered_at - INTERVAL '1 hour')
WITH (connector = 'single_file', path = 'inputs/orders.csv');
CREATE TABLE shipments (order_id TEXT, shipped_at TIMESTAMP,
    WATERMARK FOR shipped_at AS shipped_at - INTERVAL '1 hour')
WITH (connector = 'single_file', path = 'inputs/shipments.csv');
CREATE TABLE near (id TEXT, order_id TEXT) WITH (connector = 'single_file', path = 'near.json');
CREATE TABLE hours (hour TIMESTAMP, n BIGINT, amount BIGINT) WITH (connector = 'single_file', path = 'hours.json');
-- Without equal keys, and a window over the result, which is final.
INSERT INTO near SELECT o.id, s.order_id FROM orders o JOIN shipments s
ON o.id <> s.order_id AND s.shipped_at BETWEEN o.ordered_at - INTERVAL '20 minutes' AND o.ordered_at + INTERVAL '20 minutes';
INSERT INTO hours SELECT tumble(s.shipped_at, INTERVAL '1 hour').start, count(*), sum(o.amount)
FROM orders o JOIN shipments s
ON o.id = s.order_id AND s.shipped_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '2 hours'
GROUP BY tumble(s.shipped_at, INTERVAL '1 hour');
