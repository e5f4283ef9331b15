-- error: line 4, column 17
-- error: the function 'f' is declared already
CREATE FUNCTION f(n BIGINT) RETURNS BIGINT RETURN n;
CREATE FUNCTION f(n TEXT) RETURNS TEXT RETURN n;
