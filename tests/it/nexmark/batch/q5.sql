-- A bid is in the five windows that end after it, at most 10 seconds later.
WITH ends AS (
    SELECT auction, date_bin(INTERVAL '2 seconds', date_time) + slide AS window_end
    FROM bid CROSS JOIN (
        VALUES (INTERVAL '2 seconds'), (INTERVAL '4 seconds'), (INTERVAL '6 seconds'), (INTERVAL '8 seconds'),
            (INTERVAL '10 seconds')
    ) AS slides(slide)
), counts AS (
    SELECT auction, window_end, count(*) AS num FROM ends GROUP BY auction, window_end
), ranked AS (
    SELECT auction, num, max(num) OVER (PARTITION BY window_end) AS max_num FROM counts
)
SELECT auction, num FROM ranked WHERE num = max_num
