CREATE TABLE hours (
    id TEXT, version BIGINT, company TEXT, hours BIGINT, at TIMESTAMP, PRIMARY KEY (id),
    WATERMARK FOR at AS at - INTERVAL '60 days'
) WITH (connector = 'single_file', path = 'inputs/hours.jsonl', format = 'json', version = 'version');
SELECT tumble(at, INTERVAL '1 month').start AS month, company, sum(hours) AS total
FROM hours GROUP BY tumble(at, INTERVAL '1 month'), company;
