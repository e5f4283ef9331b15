CREATE TABLE parts (n BIGINT, kind TEXT)
WITH (connector = 'filesystem', path = 'inputs/part-*', format = 'json');
SELECT n * 10 AS ten FROM parts WHERE n > 5;
SELECT kind, max(n) AS most FROM parts GROUP BY kind;
