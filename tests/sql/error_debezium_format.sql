-- error: line 4, column 61
-- error: the option format = 'debezium_json' is not understood
CREATE TABLE s (id BIGINT)
WITH (connector = 'parquet', path = 'inputs/towns.parquet', format = 'debezium_json');
SELECT id FROM s;
