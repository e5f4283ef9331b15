CREATE TABLE hours (
    id TEXT, version BIGINT, company TEXT, hours BIGINT, at TIMESTAMP, PRIMARY KEY (id),
    WATERMARK FOR at AS at - INTERVAL '60 days'
) WITH (connector = 'single_file', path = 'inputs/hours.jsonl', format = 'json', version = 'version');
CREATE TABLE result (company TEXT, n BIGINT, total BIGINT, most BIGINT, kinds BIGINT, PRIMARY KEY (company))
WITH (connector = 'sqlite', path = 'out.db');
INSERT INTO result SELECT company, count(*), sum(hours), max(hours), count(DISTINCT hours) FROM hours GROUP BY company;
