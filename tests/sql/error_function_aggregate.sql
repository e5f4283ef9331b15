-- error: line 3, column 17
-- error: the function 'f' has an aggregate inside
CREATE FUNCTION f(a BIGINT) RETURNS BIGINT RETURN sum(a);
