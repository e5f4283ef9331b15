CREATE TABLE parts (n BIGINT, kind TEXT)
WITH (connector = 'filesystem', path = 'inputs/part-*', format = 'json');
CREATE TABLE nowhere WITH (connector = 'blackhole');
INSERT INTO nowhere SELECT n FROM parts;
