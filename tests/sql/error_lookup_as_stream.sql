-- error: line 5, column 15
-- error: the lookup table 'c' is asked by key and cannot be read
CREATE TABLE o (id BIGINT, customer BIGINT, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'single_file', path = 'inputs/o.json', format = 'json', type = 'source');
CREATE TABLE c (id BIGINT, name TEXT) WITH (connector = 'sqlite', path = 'crm.db', type = 'lookup');
SELECT * FROM c;
