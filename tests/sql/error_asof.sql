-- error: line 4, column 27
-- error: an ASOF JOIN needs one comparison with <, <=, > or >=, not 0
CREATE TABLE a (k BIGINT, t BIGINT) WITH (connector = 'single_file', path = 'a.json');
SELECT * FROM a ASOF JOIN a AS b ON a.k = b.k;
