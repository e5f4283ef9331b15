CREATE TABLE orders (id TEXT, currency TEXT, amount BIGINT, ordered_at TIMESTAMP,
    WATERMARK FOR ordered_at AS ordered_at - INTERVAL '1 hour')
WITH (connector = 'single_file', path = 'inputs/orders.csv');
CREATE TABLE shipments (order_id TEXT, shipped_at TIMESTAMP,
    WATERMARK FOR shipped_at AS shipped_at - INTERVAL '1 hour')
WITH (connector = 'single_file', path = 'inputs/shipments.csv');
-- Early results, and bounds that are no fixed time: both are corrected.
SET emit = 'changes';
SELECT o.id, s.shipped_at FROM orders o LEFT JOIN shipments s
ON o.id = s.order_id AND s.shipped_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1 hour';
SET emit = 'final';
SELECT o.id, s.shipped_at FROM orders o LEFT JOIN shipments s
ON o.id = s.order_id AND s.shipped_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1 month';
