-- error: line 3, column 30
-- error: the function now has another value at each moment
CREATE TABLE s (at TIMESTAMP DEFAULT now())
WITH (connector = 'single_file', path = 'inputs/part-1.jsonl');
SELECT at FROM s;
