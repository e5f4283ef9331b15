CREATE TABLE hours (
    id TEXT, version BIGINT, company TEXT, hours BIGINT, at TIMESTAMP, PRIMARY KEY (id),
    WATERMARK FOR at AS at - INTERVAL '60 days'
) WITH (connector = 'single_file', path = 'inputs/hours.jsonl', format = 'json', version = 'version');
CREATE TABLE companies (company TEXT, name TEXT, sector TEXT)
WITH (connector = 'single_file', path = 'inputs/companies.csv', "csv.delimiter" = ';');
CREATE TABLE result (company TEXT, name TEXT, total BIGINT, share DOUBLE, PRIMARY KEY (company))
WITH (connector = 'sqlite', path = 'out.db');
CREATE VIEW per_company AS SELECT company, sum(hours) AS total FROM hours GROUP BY company;
CREATE VIEW everything AS SELECT sum(hours) AS total FROM hours;
INSERT INTO result
SELECT p.company, coalesce(c.name, 'unknown'), p.total, round(CAST(p.total AS DOUBLE) / e.total, 3)
FROM per_company p CROSS JOIN everything e LEFT JOIN companies c ON c.company = p.company;
