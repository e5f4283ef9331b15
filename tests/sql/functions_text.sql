-- Texts, conditions, lists, URLs and hashes under the names of Postgres, Flink and Spark.
CREATE TABLE sales (
    id BIGINT NOT NULL, person TEXT, city TEXT, amount BIGINT, rating INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '1 day'
) WITH (connector = 'single_file', path = 'inputs/sales.csv', format = 'csv');
CREATE VIEW tagged AS
SELECT id, person, city, amount, rating, 'order-' || CAST(id AS TEXT) || '-' || coalesce(city, '') AS tag,
    'https://shop.example:8443/p/' || CAST(id AS TEXT) || '?who=' || url_encode(person) || '&n=1#top' AS link
FROM sales WHERE id <= 4;
SELECT id, split_index(tag, '-', 1) AS n, split_index(tag, '-', 9) AS none, split_part(tag, '-', 1) AS part,
    regexp_match(tag, '([a-z]+)-([0-9]+)')[2] AS matched, regexp_extract(tag, '-([0-9]+)-(.*)', 2) AS place,
    regexp_extract_all(tag, '[a-z]+', 0) AS words, regexp_like(tag, '^order') AS is_order, tag ~ '-1-' AS one,
    regexp_replace(tag, '[0-9]', '#', 'g') AS hidden, locate('-', tag, 7) AS dash, strpos(tag, '-') AS first_dash,
    lpad(person, 6, '*') AS l, rpad(person, 6, '*') AS r, left(person, 2) || right(person, 1) AS ends, initcap('ola nordmann') AS cap,
    translate(person, 'aeiou', '43107') AS leet, repeat('ab', 2) AS twice, reverse(person) AS back, concat_ws('/', person, city) AS path,
    overlay('abcdef' PLACING 'XY' FROM 2 FOR 3) AS over, substring(person FROM 2 FOR 2) AS sub, trim(BOTH 'x' FROM 'xxax') AS trimmed
FROM tagged;
SELECT id, if(amount > 50, 'big', 'small') AS size, ifnull(city, '?') AS a, nvl(city, '?') AS b, nullif(rating, 5) AS c,
    greatest(amount, 30, id) AS g, least(amount, 30) AS l, coalesce(city, person) AS d, mod(amount, 7) AS m, sign(rating - 4) AS s,
    TRY_CAST(city AS INT) AS no, TRY_CAST('17' AS INT) AS yes, is_digit(person) AS digits, is_alpha(person) AS letters,
    ceiling(amount / 30.0) AS up, truncate(amount / 30.0, 1) AS cut, round(amount / 7.0, 2) AS rounded, bin(id) AS bits, to_hex(amount) AS hexa, hex(amount) AS flink_hex
FROM tagged;
SELECT id, string_to_array(tag, '-') AS parts, array_length(string_to_array(tag, '-')) AS n, array_to_string(make_array(1, 2, 3), '+') AS joined,
    array_has(string_to_array(tag, '-'), 'order') AS has, array_contains(make_array(id, 2), 2) AS has_two, array_position(make_array('a', 'b'), 'b') AS at,
    array_sort(make_array(3, 1, 2)) AS sorted, array_distinct(make_array(1, 1, 2)) AS once, make_array(1, 2, 3)[2] AS second, cardinality(make_array(1, 2)) AS card
FROM tagged WHERE id <= 2;
SELECT id, parse_url(link, 'HOST') AS host, parse_url(link, 'QUERY', 'who') AS who, url_extract_port(link) AS port, url_extract_path(link) AS path,
    url_extract_parameter(link, 'n') AS n, url_decode(url_encode(link)) = link AS same, md5(person) AS md5, sha1(person) AS sha1,
    encode(sha256(person), 'hex') = sha2(person, 256) AS same_hash, xxhash64(person) AS xx, to_base64(person) AS b64, from_base64(to_base64(person)) = person AS same_text,
    uuid_generate_v5('url', link) AS uuid
FROM tagged WHERE id <= 2;
