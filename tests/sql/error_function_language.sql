-- error: line 3, column 53
-- error: functions in python cannot be declared here
CREATE FUNCTION f(a BIGINT) RETURNS BIGINT LANGUAGE python AS $$ return a $$;
