WITH closed AS (
    SELECT a.id, a.seller, b.price, b.date_time, b.extra
    FROM auction a JOIN bid b ON a.id = b.auction
    WHERE b.date_time >= a.date_time AND b.date_time <= a.expires
), winning AS (
    SELECT DISTINCT ON (id) id, seller, price AS final, date_time
    FROM closed ORDER BY id, price DESC, date_time, extra
)
SELECT seller, avg(final) OVER (
    PARTITION BY seller ORDER BY date_time, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW
) AS avg_final
FROM winning
