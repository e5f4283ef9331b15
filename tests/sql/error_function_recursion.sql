-- error: line 3, column 65
-- error: the function 'f' calls itself
CREATE FUNCTION f(n BIGINT) RETURNS BIGINT RETURN if(n > 1, n * f(n - 1), 1);
SELECT f(3);
