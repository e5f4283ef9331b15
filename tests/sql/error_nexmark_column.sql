-- error: line 4, column 
-- error: Nexmark has no column 'dateTime' in this table
-- error: auction, bidder, price, channel, url, date_time, extra
CREATE TABLE bid (auction BIGINT, "dateTime" TIMESTAMP) WITH (connector = 'nexmark', table = 'bid', events = '10');
SELECT * FROM bid;
