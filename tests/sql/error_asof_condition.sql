-- error: line 4, column 17
-- error: does not fit an as-of join
CREATE TABLE a (k BIGINT, t BIGINT) WITH (connector = 'single_file', path = 'a.json');
SELECT * FROM a ASOF JOIN a AS b ON a.k = b.k AND a.t >= b.t AND b.k <> 3;
