-- Nexmark q7, highest bid: the bids with the highest price of each 10 seconds. Windowed rows joined with rows that
-- are in no window.

CREATE TABLE bid (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'bid', events = '100000', seed = '0', rate = '1000');
CREATE TABLE result WITH (connector = 'stdout');

INSERT INTO result
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b
JOIN (
    SELECT max(price) AS max_price, window_end
    FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
    GROUP BY window_start, window_end
) m ON b.price = m.max_price
WHERE b.date_time BETWEEN m.window_end - INTERVAL '10' SECOND AND m.window_end;
