-- Nexmark q4, average price of a category: the mean of the winning bids of its auctions. A join by auction with a
-- range, an aggregate of it, and an aggregate of that; every new highest bid restates the mean.

CREATE TABLE auction (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'auction', events = '100000', seed = '0', rate = '1000');
CREATE TABLE bid (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'bid', events = '100000', seed = '0', rate = '1000');
CREATE TABLE result WITH (connector = 'stdout');

INSERT INTO result
SELECT category, avg(final) AS avg_final
FROM (
    SELECT max(b.price) AS final, a.category
    FROM auction a JOIN bid b ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
    GROUP BY a.id, a.category
)
GROUP BY category;
