-- error: line 3, column 17
-- error: state_ttl is zero
SET state_ttl = '0 days';
SELECT 1 AS one;
