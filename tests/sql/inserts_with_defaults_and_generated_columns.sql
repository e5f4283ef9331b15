CREATE TABLE parts (n BIGINT, kind TEXT)
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl', format = 'json');
CREATE TABLE result (
    n BIGINT NOT NULL, twice BIGINT GENERATED ALWAYS AS (n * 2) STORED, kind TEXT DEFAULT 'none', size INT DEFAULT 2 + 3 NOT NULL
) WITH (connector = 'sqlite', path = 'result.db');
INSERT INTO result (n) SELECT n FROM parts;
INSERT INTO result (size, n) SELECT n * 10, n + 100 FROM parts;
INSERT INTO result SELECT CASE WHEN n = 2 THEN NULL ELSE n + 1000 END, kind, 0 FROM parts;
CREATE TABLE middle (n BIGINT NOT NULL, label TEXT DEFAULT 'm', odd BOOLEAN GENERATED ALWAYS AS (n % 2 = 1), PRIMARY KEY (n));
INSERT INTO middle (n) SELECT n FROM parts;
INSERT INTO middle SELECT nullif(n, 1), kind FROM parts;
SELECT label, odd FROM middle;
