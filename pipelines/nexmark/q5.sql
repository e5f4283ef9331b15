-- Nexmark q5, hot items: which auctions had the most bids in the last 10 seconds, every 2 seconds? A hopping
-- window joined with its own maximum.

CREATE TABLE bid (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'bid', events = '100000', seed = '0', rate = '1000');
CREATE TABLE result WITH (connector = 'stdout');

CREATE VIEW auction_bids AS
SELECT auction, count(*) AS num, window_start, window_end
FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end;

INSERT INTO result
SELECT a.auction, a.num
FROM auction_bids a
JOIN (
    SELECT max(num) AS max_num, window_start, window_end FROM auction_bids GROUP BY window_start, window_end
) m ON a.window_start = m.window_start AND a.window_end = m.window_end AND a.num >= m.max_num;
