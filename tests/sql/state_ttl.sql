CREATE TABLE hours (
    id TEXT, version BIGINT, company TEXT, hours BIGINT, at TIMESTAMP, PRIMARY KEY (id)
) WITH (connector = 'single_file', path = 'inputs/hours.jsonl', format = 'json', version = 'version', state_ttl = '30 days');
SET state_ttl = '7 days';
SELECT company, count(*) AS n, sum(hours) AS hours FROM hours GROUP BY company;
