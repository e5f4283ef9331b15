-- error: line 4, column 17
-- error: USING in an ASOF JOIN is not supported
CREATE TABLE a (k BIGINT, t BIGINT) WITH (connector = 'single_file', path = 'a.json');
SELECT * FROM a ASOF JOIN a AS b USING (k);
