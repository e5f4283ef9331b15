CREATE TABLE parts (n BIGINT, kind TEXT)
WITH (connector = 'filesystem', path = 'inputs/part-*', format = 'json');
CREATE TABLE lines (n BIGINT, kind TEXT) WITH (connector = 'filesystem', path = 'lines', format = 'json');
CREATE TABLE table_rows (n BIGINT, kind TEXT) WITH (connector = 'filesystem', path = 'rows', format = 'csv');
INSERT INTO lines SELECT n, kind FROM parts;
INSERT INTO table_rows SELECT n, kind FROM parts;
