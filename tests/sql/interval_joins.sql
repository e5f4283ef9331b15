CREATE TABLE orders (id TEXT, currency TEXT, amount BIGINT, ordered_at TIMESTAMP,
    WATERMARK FOR ordered_at AS ordered_at - INTERVAL '1 hour')
WITH (connector = 'single_file', path = 'inputs/orders.csv');
CREATE TABLE shipments (order_id TEXT, shipped_at TIMESTAMP,
    WATERMARK FOR shipped_at AS shipped_at - INTERVAL '1 hour')
WITH (connector = 'single_file', path = 'inputs/shipments.csv');
CREATE TABLE "inner" (id TEXT, ordered_at TIMESTAMP, order_id TEXT, shipped_at TIMESTAMP) WITH (connector = 'single_file', path = 'inner.json');
CREATE TABLE "left" (id TEXT, ordered_at TIMESTAMP, order_id TEXT, shipped_at TIMESTAMP) WITH (connector = 'single_file', path = 'left.json');
CREATE TABLE "right" (id TEXT, ordered_at TIMESTAMP, order_id TEXT, shipped_at TIMESTAMP) WITH (connector = 'single_file', path = 'right.json');
CREATE TABLE "full" (id TEXT, ordered_at TIMESTAMP, order_id TEXT, shipped_at TIMESTAMP) WITH (connector = 'single_file', path = 'full.json');
CREATE TABLE semi (id TEXT) WITH (connector = 'single_file', path = 'semi.json');
CREATE TABLE anti (id TEXT) WITH (connector = 'single_file', path = 'anti.json');
INSERT INTO "inner" SELECT o.id, o.ordered_at, s.order_id, s.shipped_at
FROM orders o JOIN shipments s ON o.id = s.order_id
AND s.shipped_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1 hour';
INSERT INTO "left" SELECT o.id, o.ordered_at, s.order_id, s.shipped_at
FROM orders o LEFT JOIN shipments s
ON o.id = s.order_id AND s.shipped_at >= o.ordered_at AND s.shipped_at - o.ordered_at <= INTERVAL '1 hour';
INSERT INTO "right" SELECT o.id, o.ordered_at, s.order_id, s.shipped_at
FROM orders o RIGHT JOIN shipments s
ON o.id = s.order_id AND o.ordered_at <= s.shipped_at AND o.ordered_at > s.shipped_at - INTERVAL '3601 seconds';
INSERT INTO "full" SELECT o.id, o.ordered_at, s.order_id, s.shipped_at
FROM orders o FULL JOIN shipments s
ON o.id = s.order_id AND o.ordered_at + INTERVAL '1' HOUR >= s.shipped_at AND NOT s.shipped_at < o.ordered_at;
INSERT INTO semi SELECT id FROM orders o WHERE EXISTS (
    SELECT 1 FROM shipments s WHERE s.order_id = o.id
    AND s.shipped_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '60 minutes');
INSERT INTO anti SELECT id FROM orders o WHERE NOT EXISTS (
    SELECT 1 FROM shipments s WHERE s.order_id = o.id
    AND s.shipped_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '60 minutes');
