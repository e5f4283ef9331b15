-- error: line 5, column
-- error: the lookup table 'c' is not read, so not all of its rows can be kept
CREATE TABLE o (id BIGINT, customer BIGINT, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'single_file', path = 'inputs/o.json', format = 'json', type = 'source');
CREATE TABLE c (id BIGINT, name TEXT) WITH (connector = 'sqlite', path = 'crm.db', type = 'lookup');
SELECT o.id, c.name FROM o FULL JOIN c ON o.customer = c.id;
