SELECT auction, bidder, price, date_time, 'value of ' || (auction % 10000) AS value FROM bid
