CREATE TABLE parts (n BIGINT, kind TEXT)
WITH (connector = 'filesystem', path = 'inputs/part-*', format = 'json');
SELECT kind, count(*) AS n, sum(n) AS total FROM parts GROUP BY kind;
