-- error: line 4, column 8
-- error: the function 'f' takes 2 arguments, not 1
CREATE FUNCTION f(a BIGINT, b BIGINT) RETURNS BIGINT RETURN a + b;
SELECT f(1);
