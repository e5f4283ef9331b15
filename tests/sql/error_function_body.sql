-- error: line 5, column 15
-- error: there is no function 'uper'
CREATE FUNCTION f(n TEXT) RETURNS TEXT
AS $$
  SELECT n || uper(n)
$$;
