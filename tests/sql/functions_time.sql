-- Times under the names of Postgres, Flink and Spark.
CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
SELECT id, to_char(at, 'YYYY-MM-DD HH24:MI') AS pg, to_char(at, 'FMDay, FMDDth FMMonth') AS words,
    date_format(at, 'yyyy/MM/dd HH:mm:ss.SSS') AS java, date_format(at, '%d.%m.%y') AS strf,
    to_char(amount, 'FM9,990.00') AS money, to_char(amount / 7.0, '990.99') AS wide,
    date_bin(INTERVAL '15 minutes', at) AS quarter_hour, date_trunc('week', at) AS week,
    extract(hour FROM at) AS h, date_part('dow', at) AS dow, extract(epoch FROM at) AS epoch,
    year(at) AS y, quarter(at) AS q, dayofweek(at) AS d, last_day(at) AS month_end
FROM sales;
SELECT id, at AT TIME ZONE 'Europe/Oslo' AS oslo, extract(hour FROM at AT TIME ZONE 'Asia/Tokyo') AS tokyo_hour,
    timezone('America/New_York', at) AS new_york, to_utc_timestamp(at, 'Europe/Oslo') AS from_oslo,
    convert_tz(date_format(at, 'yyyy-MM-dd HH:mm:ss'), 'UTC', 'Asia/Kolkata') AS kolkata,
    unix_timestamp(at) AS seconds, from_unixtime(unix_timestamp(at)) AS back, from_unixtime(amount * 86400, 'yyyy-MM-dd') AS day,
    to_timestamp_ltz(amount * 1000, 3) AS ltz
FROM sales WHERE id <= 3;
SELECT id, to_timestamp(to_char(at, 'DD/MM/YYYY HH24:MI:SS'), 'DD/MM/YYYY HH24:MI:SS') = at AS pg,
    to_timestamp(date_format(at, 'yyyy-MM-dd HH:mm:ss'), 'yyyy-MM-dd HH:mm:ss') = at AS java,
    to_date('2026-' || lpad(CAST(id AS TEXT), 2, '0') || '-15', 'YYYY-MM-DD') AS date,
    try_to_timestamp(city, 'YYYY-MM-DD') AS never, make_date(2026, CAST(id AS INT), 1) AS first,
    make_timestamp(2026, 1, id, 12, 30, 15.5) AS made, at + make_interval(0, 1) AS month_later,
    timestampadd(DAY, id, at) AS later, timestampdiff(HOUR, TIMESTAMP '2026-01-01', at) AS hours
FROM sales WHERE id <= 3;
