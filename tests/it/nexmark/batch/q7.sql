-- A bid at the very end of a window belongs to the next one; the original compares it with both.
WITH highest AS (
    SELECT max(price) AS max_price, date_bin(INTERVAL '10 seconds', date_time) + INTERVAL '10 seconds' AS window_end
    FROM bid GROUP BY date_bin(INTERVAL '10 seconds', date_time)
)
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b, highest m
WHERE b.price = m.max_price
    AND b.date_time >= m.window_end - INTERVAL '10 seconds' AND b.date_time <= m.window_end
