-- error: line 3, column 55
-- error: there is no column 'm'
CREATE FUNCTION f(n BIGINT) RETURNS BIGINT RETURN n + m;
