-- error: line 3, column 17
-- error: there is a function 'upper' already
CREATE FUNCTION upper(n TEXT) RETURNS TEXT RETURN n;
