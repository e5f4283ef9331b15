CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE TABLE large (person TEXT, amount BIGINT) WITH (connector = 'single_file', path = 'large.json');
CREATE TABLE small (person TEXT, amount BIGINT) WITH (connector = 'single_file', path = 'small.csv');
CREATE TABLE totals (person TEXT, total BIGINT, PRIMARY KEY (person)) WITH (connector = 'sqlite', path = 'totals.db');
CREATE VIEW known AS SELECT person, amount FROM sales WHERE city IS NOT NULL;
INSERT INTO large SELECT person, amount FROM known WHERE amount >= 60;
INSERT INTO small SELECT person, amount FROM known WHERE amount < 60;
INSERT INTO totals SELECT person, sum(amount) FROM known GROUP BY person;
