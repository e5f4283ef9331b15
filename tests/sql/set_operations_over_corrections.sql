CREATE TABLE hours (
    id TEXT, version BIGINT, company TEXT, hours BIGINT, at TIMESTAMP, PRIMARY KEY (id),
    WATERMARK FOR at AS at - INTERVAL '60 days'
) WITH (connector = 'single_file', path = 'inputs/hours.jsonl', format = 'json', version = 'version');
CREATE TABLE companies (company TEXT, name TEXT, sector TEXT)
WITH (connector = 'single_file', path = 'inputs/companies.csv', "csv.delimiter" = ';');
CREATE TABLE result WITH (connector = 'single_file', path = 'result.json', format = 'debezium_json');
INSERT INTO result SELECT company, count(*) AS n FROM (SELECT company FROM hours EXCEPT ALL SELECT company FROM companies) GROUP BY company;
