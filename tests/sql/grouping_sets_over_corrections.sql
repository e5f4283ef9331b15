CREATE TABLE hours (
    id TEXT, version BIGINT, company TEXT, hours BIGINT, at TIMESTAMP, PRIMARY KEY (id),
    WATERMARK FOR at AS at - INTERVAL '60 days'
) WITH (connector = 'single_file', path = 'inputs/hours.jsonl', format = 'json', version = 'version');
CREATE TABLE result WITH (connector = 'single_file', path = 'result.json', format = 'debezium_json');
INSERT INTO result SELECT company, date_trunc('month', at) AS month, sum(hours) AS hours, grouping(company) AS g
FROM hours GROUP BY CUBE (company, date_trunc('month', at));
