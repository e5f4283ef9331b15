-- error: line 5, column
-- error: the lookup table 'c' answers as of now, not as of an event time
CREATE TABLE o (id BIGINT, customer BIGINT, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'single_file', path = 'inputs/o.json', format = 'json', type = 'source');
CREATE TABLE c (id BIGINT, name TEXT) WITH (connector = 'sqlite', path = 'crm.db', type = 'lookup');
SELECT o.id, c.name FROM o JOIN c FOR SYSTEM_TIME AS OF o.ts ON o.customer = c.id;
