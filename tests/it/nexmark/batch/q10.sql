SELECT auction, bidder, price, date_time, extra,
    substr(CAST(date_time AS VARCHAR), 1, 10) AS day, substr(CAST(date_time AS VARCHAR), 12, 5) AS minute
FROM bid
