-- error: line 9, column 46
-- error: USING or NATURAL in a RIGHT or FULL JOIN is not supported
CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE companies (company TEXT, name TEXT, sector TEXT)
WITH (connector = 'single_file', path = 'inputs/companies.csv', "csv.delimiter" = ';');
SELECT person FROM sales FULL JOIN companies USING (company);
