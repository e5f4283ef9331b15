-- Nexmark q1, currency conversion: every bid with its price in euros.

CREATE TABLE bid (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'bid', events = '100000', seed = '0', rate = '1000');
CREATE TABLE result WITH (connector = 'stdout');

INSERT INTO result
SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid;
