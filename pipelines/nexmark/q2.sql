-- Nexmark q2, selection: the bids on some auctions.

CREATE TABLE bid (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'bid', events = '100000', seed = '0', rate = '1000');
CREATE TABLE result WITH (connector = 'stdout');

INSERT INTO result
SELECT auction, price FROM bid WHERE auction % 123 = 0;
