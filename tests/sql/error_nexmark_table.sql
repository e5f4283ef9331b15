-- error: line 4, column 30
-- error: table = 'bids' is not understood
CREATE TABLE bid
WITH (connector = 'nexmark', table = 'bids', events = '10');
SELECT * FROM bid;
