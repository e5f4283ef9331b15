SELECT auction, bidder, 0.908 * price AS price,
    CASE WHEN h >= 8 AND h <= 18 THEN 'dayTime' WHEN h <= 6 OR h >= 20 THEN 'nightTime' ELSE 'otherTime' END
        AS bid_time_type,
    date_time, extra, CAST(length(regexp_replace(extra, '[^c]', '', 'g')) AS BIGINT) AS c_counts
FROM (SELECT *, date_part('hour', date_time) AS h FROM bid)
WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000
