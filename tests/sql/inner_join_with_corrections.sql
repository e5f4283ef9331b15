CREATE TABLE hours (
    id TEXT, version BIGINT, company TEXT, hours BIGINT, at TIMESTAMP, PRIMARY KEY (id),
    WATERMARK FOR at AS at - INTERVAL '60 days'
) WITH (connector = 'single_file', path = 'inputs/hours.jsonl', format = 'json', version = 'version');
CREATE TABLE companies (company TEXT, name TEXT, sector TEXT)
WITH (connector = 'single_file', path = 'inputs/companies.csv', "csv.delimiter" = ';');
SELECT c.name, h.id, h.hours FROM hours h JOIN companies c ON h.company = c.company;
