-- error: line 3, column
-- error: the function 'f' has a query inside
CREATE FUNCTION f(a BIGINT) RETURNS BIGINT RETURN a + (SELECT 1);
