-- error: line 4, column
-- error: the option lookup.order = 'random' is not understood
CREATE TABLE o (id BIGINT, customer BIGINT, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'single_file', path = 'inputs/o.json', format = 'json', type = 'source');
CREATE TABLE c (id BIGINT, name TEXT) WITH (connector = 'sqlite', path = 'crm.db', type = 'lookup', lookup.order = 'random');
SELECT o.id, c.name FROM o JOIN c ON o.customer = c.id;
