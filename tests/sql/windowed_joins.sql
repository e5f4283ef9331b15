CREATE TABLE orders (id TEXT, currency TEXT, amount BIGINT, ordered_at TIMESTAMP,
    WATERMARK FOR ordered_at AS ordered_at - INTERVAL '1 hour')
WITH (connector = 'single_file', path = 'inputs/orders.csv');
CREATE TABLE shipments (order_id TEXT, shipped_at TIMESTAMP,
    WATERMARK FOR shipped_at AS shipped_at - INTERVAL '1 hour')
WITH (connector = 'single_file', path = 'inputs/shipments.csv');
CREATE VIEW ordered AS
SELECT tumble(ordered_at, INTERVAL '1 hour') AS hour, count(*) AS n FROM orders GROUP BY tumble(ordered_at, INTERVAL '1 hour');
CREATE VIEW shipped AS
SELECT tumble(shipped_at, INTERVAL '1 hour') AS hour, count(*) AS n FROM shipments GROUP BY tumble(shipped_at, INTERVAL '1 hour');
CREATE TABLE both (hour TIMESTAMP, ordered BIGINT, shipped BIGINT) WITH (connector = 'single_file', path = 'both.json');
CREATE TABLE ordered_only (hour TIMESTAMP, ordered BIGINT, shipped BIGINT) WITH (connector = 'single_file', path = 'ordered_only.json');
CREATE TABLE either (ordered_hour TIMESTAMP, shipped_hour TIMESTAMP, ordered BIGINT, shipped BIGINT)
WITH (connector = 'single_file', path = 'either.json');
CREATE TABLE not_shipped (hour TIMESTAMP) WITH (connector = 'single_file', path = 'not_shipped.json');
CREATE TABLE again (hour TIMESTAMP, n BIGINT, most BIGINT) WITH (connector = 'single_file', path = 'again.json');
CREATE TABLE with_rows (hour TIMESTAMP, id TEXT, order_id TEXT) WITH (connector = 'single_file', path = 'with_rows.json');
INSERT INTO both SELECT o.hour.start, o.n AS ordered, s.n AS shipped FROM ordered o JOIN shipped s ON o.hour = s.hour;
INSERT INTO ordered_only SELECT o.hour.start, o.n AS ordered, s.n AS shipped FROM ordered o LEFT JOIN shipped s ON o.hour = s.hour;
INSERT INTO either SELECT o.hour.start AS o, s.hour.start AS s, o.n AS ordered, s.n AS shipped FROM ordered o FULL JOIN shipped s ON o.hour = s.hour;
INSERT INTO not_shipped SELECT o.hour.start FROM ordered o WHERE NOT EXISTS (SELECT 1 FROM shipped s WHERE s.hour = o.hour);
-- What a windowed join yields is grouped by its window again.
INSERT INTO again SELECT o.hour.start, count(*), max(s.n) FROM ordered o JOIN shipped s ON o.hour = s.hour GROUP BY o.hour;
INSERT INTO with_rows SELECT o.hour.start, o.id, s.order_id
FROM (SELECT id, tumble(ordered_at, INTERVAL '1 hour') AS hour FROM orders) o
JOIN (SELECT order_id, tumble(shipped_at, INTERVAL '1 hour') AS hour FROM shipments) s ON o.id = s.order_id AND o.hour = s.hour;
-- A window and a table without time: a regular join.
SELECT o.hour.start AS hour, o.n, c.name FROM ordered o JOIN (VALUES (1, 'one'), (2, 'two')) AS c (n, name) ON o.n = c.n;
-- The table functions say where a window begins and ends in columns.
SELECT o.window_start, o.id, s.order_id
FROM TUMBLE(orders, ordered_at, INTERVAL '1 hour') o
JOIN TUMBLE(shipments, shipped_at, INTERVAL '1 hour') s
ON o.id = s.order_id AND o.window_start = s.window_start AND o.window_end = s.window_end;
