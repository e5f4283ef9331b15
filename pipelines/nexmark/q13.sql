-- Nexmark q13, bounded side input: every bid with a value from a table of 10 000 rows.

CREATE TABLE bid (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'bid', events = '100000', seed = '0', rate = '1000');
CREATE TABLE numbers (counter BIGINT) WITH (connector = 'generator', rows = '10000');
CREATE VIEW side_input AS SELECT counter AS key, 'value of ' || counter AS value FROM numbers;
CREATE TABLE result WITH (connector = 'stdout');

INSERT INTO result
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid b JOIN side_input s ON b.auction % 10000 = s.key;
