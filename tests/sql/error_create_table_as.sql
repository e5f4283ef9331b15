-- error: line 3, column 16
-- error: CREATE TABLE … AS SELECT is not supported
CREATE TABLE t AS SELECT 1 AS x;
SELECT x FROM t;
