CREATE TABLE orders (id TEXT, currency TEXT, amount BIGINT, ordered_at TIMESTAMP,
    WATERMARK FOR ordered_at AS ordered_at - INTERVAL '1 hour')
WITH (connector = 'single_file', path = 'inputs/orders.csv');
CREATE TABLE rates (currency TEXT PRIMARY KEY, rate DECIMAL(10, 2), valid_from TIMESTAMP,
    WATERMARK FOR valid_from AS valid_from - INTERVAL '5 hours')
WITH (connector = 'single_file', path = 'inputs/rates.csv');
CREATE TABLE converted (id TEXT, rate DECIMAL(10, 2), eur DECIMAL(38, 2)) WITH (connector = 'single_file', path = 'converted.json');
CREATE TABLE all_orders (id TEXT, rate DECIMAL(10, 2), valid_from TIMESTAMP)
WITH (connector = 'single_file', path = 'all_orders.json');
CREATE TABLE hours (hour TIMESTAMP, total DECIMAL(38, 2)) WITH (connector = 'single_file', path = 'hours.json');
CREATE TABLE dear (id TEXT, rate DECIMAL(10, 2)) WITH (connector = 'single_file', path = 'dear.json');
INSERT INTO converted SELECT o.id, r.rate, o.amount * r.rate
FROM orders o JOIN rates FOR SYSTEM_TIME AS OF o.ordered_at AS r ON o.currency = r.currency;
INSERT INTO all_orders SELECT o.id, r.rate, r.valid_from
FROM orders AS o LEFT JOIN rates FOR SYSTEM_TIME AS OF o.ordered_at AS r ON r.currency = o.currency;
INSERT INTO hours SELECT tumble(INTERVAL '1 hour').start, sum(o.amount * r.rate)
FROM orders o JOIN rates FOR SYSTEM_TIME AS OF o.ordered_at AS r ON o.currency = r.currency
GROUP BY tumble(INTERVAL '1 hour');
-- The version is chosen first, then the condition is looked at.
INSERT INTO dear SELECT o.id, r.rate
FROM orders o JOIN rates FOR SYSTEM_TIME AS OF o.ordered_at AS r ON o.currency = r.currency WHERE r.rate <= 1.10;
-- Read as it is, the table has the newest rate of each currency.
SELECT currency, rate FROM rates;
