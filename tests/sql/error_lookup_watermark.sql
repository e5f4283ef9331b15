-- error: line 4, column
-- error: the lookup table 'c' has no event time
CREATE TABLE o (id BIGINT, customer BIGINT, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'single_file', path = 'inputs/o.json', format = 'json', type = 'source');
CREATE TABLE c (id BIGINT, name TEXT, at TIMESTAMP, WATERMARK FOR at) WITH (connector = 'sqlite', path = 'crm.db', type = 'lookup');
SELECT o.id, c.name FROM o JOIN c ON o.customer = c.id;
