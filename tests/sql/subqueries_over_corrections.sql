CREATE TABLE hours (
    id TEXT, version BIGINT, company TEXT, hours BIGINT, at TIMESTAMP, PRIMARY KEY (id),
    WATERMARK FOR at AS at - INTERVAL '60 days'
) WITH (connector = 'single_file', path = 'inputs/hours.jsonl', format = 'json', version = 'version');
CREATE TABLE companies (company TEXT, name TEXT, sector TEXT)
WITH (connector = 'single_file', path = 'inputs/companies.csv', "csv.delimiter" = ';');
CREATE TABLE totals WITH (connector = 'single_file', path = 'totals.json', format = 'debezium_json');
CREATE TABLE missing WITH (connector = 'single_file', path = 'missing.json', format = 'debezium_json');
CREATE TABLE above WITH (connector = 'single_file', path = 'above.json', format = 'debezium_json');
INSERT INTO totals SELECT c.company, (SELECT sum(hours) FROM hours h WHERE h.company = c.company) AS hours,
    EXISTS (SELECT 1 FROM hours h WHERE h.company = c.company AND h.hours > 6) AS busy FROM companies c;
INSERT INTO missing SELECT h.id FROM hours h WHERE h.company NOT IN (SELECT company FROM companies WHERE company IS NOT NULL);
INSERT INTO above SELECT id, hours FROM hours h WHERE hours > (SELECT avg(hours) FROM hours x WHERE x.company = h.company);
