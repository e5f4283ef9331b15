-- Nexmark q0, pass through: every bid as it is. Measures what reading and writing cost.

CREATE TABLE bid (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'bid', events = '100000', seed = '0', rate = '1000');
CREATE TABLE result WITH (connector = 'stdout');

INSERT INTO result
SELECT auction, bidder, price, date_time, extra FROM bid;
