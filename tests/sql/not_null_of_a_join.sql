CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE counts (person TEXT, n BIGINT NOT NULL, PRIMARY KEY (person))
WITH (connector = 'single_file', path = 'counts.json', format = 'debezium_json');
-- A row may be without its match for a moment within an epoch: that is no dead letter.
INSERT INTO counts SELECT p.person, c.n FROM (SELECT DISTINCT person FROM sales) p
LEFT JOIN (SELECT person, count(*) AS n FROM sales GROUP BY person) c ON c.person = p.person;
