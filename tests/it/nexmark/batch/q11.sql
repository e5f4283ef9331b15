-- A session begins where the bid before it is more than 10 seconds ago; its end is 10 seconds after its last bid.
WITH before AS (
    SELECT bidder, date_time, lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time) AS previous FROM bid
), numbered AS (
    SELECT bidder, date_time, sum(CASE WHEN date_time <= previous + INTERVAL '10 seconds' THEN 0 ELSE 1 END)
        OVER (PARTITION BY bidder ORDER BY date_time ROWS UNBOUNDED PRECEDING) AS session
    FROM before
)
SELECT bidder, count(*) AS bid_count, min(date_time) AS start_time,
    max(date_time) + INTERVAL '10 seconds' AS end_time
FROM numbered GROUP BY bidder, session
