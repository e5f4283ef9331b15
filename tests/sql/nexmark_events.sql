-- All events of Nexmark in one table, each in the column of its kind, and the bids alone.
CREATE TABLE nexmark WITH (
    connector = 'nexmark', events = '110', seed = '7', rate = '10', base_time = '2026-01-31 23:59:55', event_time_field = 'date_time'
);
CREATE TABLE bid (auction BIGINT, price DOUBLE, date_time TIMESTAMP, WATERMARK FOR date_time)
WITH (connector = 'nexmark', table = 'bid', events = '110', seed = '7', rate = '10', base_time = '2026-01-31 23:59:55');

CREATE TABLE kinds WITH (connector = 'single_file', path = 'kinds.json', format = 'debezium_json');
INSERT INTO kinds
SELECT event_type, count(*) AS n, count(person) AS persons, count(auction) AS auctions, count(bid) AS bids,
    min(date_time) AS first, max(date_time) AS last
FROM nexmark GROUP BY event_type;

CREATE TABLE persons WITH (connector = 'single_file', path = 'persons.json');
INSERT INTO persons SELECT person.id, person.name, person.city, person.date_time FROM nexmark WHERE event_type = 0;

CREATE TABLE auctions WITH (connector = 'single_file', path = 'auctions.json');
INSERT INTO auctions
SELECT auction.id, auction.seller, auction.category, auction.initial_bid, auction.expires
FROM nexmark WHERE auction IS NOT NULL;

CREATE TABLE windows WITH (connector = 'single_file', path = 'windows.json');
INSERT INTO windows
SELECT window.start, bids, auctions, highest
FROM (
    SELECT tumble(interval '5 seconds') AS window, count(*) AS bids, count(DISTINCT nexmark.bid.auction) AS auctions,
        max(CAST(nexmark.bid.price AS DOUBLE)) AS highest
    FROM nexmark WHERE event_type = 2 GROUP BY window
);

CREATE TABLE same_windows WITH (connector = 'single_file', path = 'windows_of_bids.json');
INSERT INTO same_windows
SELECT window.start, bids, auctions, highest
FROM (
    SELECT tumble(interval '5 seconds') AS window, count(*) AS bids, count(DISTINCT auction) AS auctions, max(price) AS highest
    FROM bid GROUP BY window
);
