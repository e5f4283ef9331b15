-- error: line 3, column 9
-- error: EXPLAIN takes a query
EXPLAIN CREATE VIEW v AS SELECT 1 AS x;
