-- Nexmark q20, expand bid: the bids on auctions of category 10, with all of the auction.

CREATE TABLE bid (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'bid', events = '100000', seed = '0', rate = '1000');
CREATE TABLE auction (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'auction', events = '100000', seed = '0', rate = '1000');
CREATE TABLE result WITH (connector = 'stdout');

INSERT INTO result
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time AS bid_date_time, b.extra AS bid_extra,
    a.item_name, a.description, a.initial_bid, a.reserve, a.date_time AS auction_date_time, a.expires,
    a.seller, a.category, a.extra AS auction_extra
FROM bid b JOIN auction a ON b.auction = a.id
WHERE a.category = 10;
