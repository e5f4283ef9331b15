-- Run it with: cargo run -p headwater-example-udf
-- A donation is corrected by a later row of the same id, so both outputs are changes.
CREATE TABLE donations (
    id BIGINT, name TEXT, city TEXT, postcode TEXT, amount DOUBLE, minutes BIGINT, trained BOOLEAN, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day', PRIMARY KEY (id)
) WITH (connector = 'single_file', path = 'data/donations.csv', format = 'csv');
CREATE TABLE people WITH (connector = 'single_file', path = 'people.json', format = 'debezium_json');
CREATE TABLE spread WITH (connector = 'single_file', path = 'spread.json', format = 'debezium_json');

INSERT INTO people
SELECT masked(name) AS who, hours_credit(minutes, trained) AS credit, postcode_region(postcode) AS region FROM donations;
INSERT INTO spread
SELECT city, count(*) AS n, longest(name) AS longest, gini(amount) AS spread, gini(DISTINCT amount) AS among_different FROM donations GROUP BY city;
