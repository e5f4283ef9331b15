SELECT auction, bidder, price, channel, parts[1] AS dir1, parts[2] AS dir2, parts[3] AS dir3
FROM (SELECT *, regexp_match(url, '^https://[^/]*/([^/]*)/([^/]*)/([^/]*)') AS parts FROM bid)
