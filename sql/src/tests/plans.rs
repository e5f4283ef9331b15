//! Goldens of plans. `UPDATE_EXPECT=1` rewrites them.

use super::{BIDS, explain};
use expect_test::{Expect, expect};

fn check(sql: &str, expected: Expect) {
    expected.assert_eq(&explain(&format!("{BIDS}{sql}")));
}

#[test]
fn a_projection_and_a_filter_are_one_chain() {
    check(
        "SELECT auction, price * 2 AS twice FROM bids WHERE price > 100;",
        expect![[r#"
            source_bids
                source bids.json [auction, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                filter price > 100
                project [auction, price * 2 AS twice]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (auction Int64!, twice Int64) key []
        "#]],
    );
}

#[test]
fn updating_aggregates_with_distinct_filter_and_having() {
    let sql = "
        CREATE TABLE totals (bidder TEXT, n BIGINT, kinds BIGINT, dear BIGINT, PRIMARY KEY (bidder)) WITH (connector = 'store');
        INSERT INTO totals
        SELECT bidder, count(*), count(DISTINCT auction), sum(price) FILTER (WHERE price > 10) FROM bids
        GROUP BY bidder HAVING count(*) > 1;";
    check(
        sql,
        expect![[r#"
            source_bids
                source bids.json [auction, bidder, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → totals_rows [forward, append-only]
            totals_rows
                project [auction, bidder, price]
              → totals_aggregate [hash(bidder), append-only]
            totals_aggregate
                aggregate [count(1) AS count(Int64(1)), count(DISTINCT auction) AS count(DISTINCT bids.auction), sum(price) FILTER (price > 10) AS sum(bids.price) FILTER (WHERE bids.price > Int64(10))] by [bidder]
                filter count(Int64(1)) > 1
                project [bidder, count(Int64(1)) AS count(*), count(DISTINCT bids.auction), sum(bids.price) FILTER (WHERE bids.price > Int64(10))]
                project [bidder, count(*) AS n, count(DISTINCT bids.auction) AS kinds, sum(bids.price) FILTER (WHERE bids.price > Int64(10)) AS dear]
                not null [bidder]
              → sink_totals [gather, changing]
            sink_totals
                sink totals (bidder Utf8!, n Int64, kinds Int64, dear Int64) key [0]
        "#]],
    );
}

#[test]
fn a_global_aggregate_and_distinct() {
    let sql = "SELECT count(*) AS n FROM (SELECT DISTINCT lower(bidder) FROM bids);";
    check(
        sql,
        expect![[r#"
            source_bids
                source bids.json [auction, bidder, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [lower(bidder) AS lower(bids.bidder)]
              → stdout_aggregate [hash(lower(bids.bidder)), append-only]
            stdout_aggregate
                aggregate [] by [lower(bids.bidder)]
                project [true AS __row]
                project [true AS __row]
              → stdout_aggregate_2 [gather, append-only]
            stdout_aggregate_2
                aggregate [count(1) AS count(Int64(1))]
                project [count(Int64(1)) AS n]
              → sink_stdout [gather, changing]
            sink_stdout
                sink stdout (n Int64!) key []
        "#]],
    );
}

#[test]
fn a_view_that_is_read_twice_is_one_node() {
    let sql = "
        CREATE VIEW dear AS SELECT auction, price, bidder, ts FROM bids WHERE price > 100;
        CREATE VIEW unused AS SELECT * FROM dear;
        CREATE TABLE a WITH (connector = 'files');
        CREATE TABLE b WITH (connector = 'files');
        INSERT INTO a SELECT auction FROM dear;
        INSERT INTO b SELECT tumble(interval '1 hour') AS window, max(price) AS top FROM dear GROUP BY 1;";
    check(
        sql,
        expect![[r#"
            source_bids
                source bids.json [auction, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → view_dear [forward, append-only]
            view_dear
                filter price > 100
              → a_rows [forward, append-only]
              → b_rows [forward, append-only]
            a_rows
                project [auction]
              → sink_a [gather, append-only]
            b_rows
                project [tumble(ts, interval '1 hour') AS tumble(1 hour), price]
              → b_aggregate [hash(tumble(1 hour)), append-only]
            sink_a
                sink a (auction Int64!) key []
            b_aggregate
                aggregate [max(price) AS max(dear.price)] by [tumble(1 hour)], window tumble(1 hour), final, late rows to dead letters
                project [tumble(1 hour) AS window, max(dear.price) AS top]
              → sink_b [gather, append-only]
            sink_b
                sink b (window Struct("start": non-null Timestamp(ns), "end": non-null Timestamp(ns))!, top Int64) key []
        "#]],
    );
}

#[test]
fn a_table_between_statements_is_a_union() {
    let sql = "
        CREATE TABLE all_names (name TEXT, amount DECIMAL(10, 2));
        CREATE TABLE out WITH (connector = 'files');
        INSERT INTO all_names SELECT bidder, price FROM bids;
        INSERT INTO all_names (name) SELECT extra.channel FROM bids;
        INSERT INTO all_names VALUES ('nobody', 0.5);
        INSERT INTO out SELECT * FROM all_names WHERE name IS NOT NULL;";
    check(
        sql,
        expect![[r#"
            source_bids
                source bids.json [auction, bidder, price, extra, ts]
                event time ts, watermark ts - interval '5 seconds'
              → all_names_rows [forward, append-only]
              → all_names_rows_2 [forward, append-only]
            source_all_names_values
                source values, 1 rows
              → all_names_rows_3 [forward, append-only]
            all_names_rows
                project [bidder AS name, CAST(price AS Decimal128(10, 2)) AS amount]
              → out_union [forward, append-only]
            all_names_rows_2
                project [get_field(extra, channel) AS name, NULL AS amount]
              → out_union [forward, append-only]
            all_names_rows_3
                project [column1 AS name, CAST(column2 AS Decimal128(10, 2)) AS amount]
              → out_union [forward, append-only]
            out_union
                union [name, amount]
                filter name IS NOT NULL
              → sink_out [gather, append-only]
            sink_out
                sink out (name Utf8, amount Decimal128(10, 2)) key []
        "#]],
    );
}

#[test]
fn identical_subqueries_are_planned_once() {
    let sql = "
        CREATE TABLE a WITH (connector = 'files');
        CREATE TABLE b WITH (connector = 'files');
        INSERT INTO a SELECT upper(name) AS name FROM (SELECT DISTINCT bidder AS name FROM bids) WHERE false OR name <> 'x';
        INSERT INTO b SELECT upper(name) AS name FROM (SELECT DISTINCT bidder AS name FROM bids) WHERE false OR name <> 'x';";
    check(
        &sql.replace("'files'", "'stdout'"),
        expect![[r#"
            source_bids
                source bids.json [auction, bidder, ts]
                event time ts, watermark ts - interval '5 seconds'
              → a_rows [forward, append-only]
            a_rows
                filter bidder != x
                project [bidder AS name]
              → a_aggregate [hash(name), append-only]
            a_aggregate
                aggregate [] by [name]
                project [upper(name) AS name]
              → sink_a [gather, append-only]
              → sink_b [gather, append-only]
            sink_a
                sink a (name Utf8) key []
            sink_b
                sink b (name Utf8) key []
        "#]],
    );
}

#[test]
fn unnest_in_the_select_list_and_in_from() {
    check(
        "SELECT auction, unnest(tags) AS tag FROM bids;",
        expect![[r#"
            source_bids
                source bids.json [auction, tags, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [auction, tags AS __unnest_placeholder(bids.tags)]
                unnest [__unnest_placeholder(bids.tags)]
                project [auction, __unnest_placeholder(bids.tags,depth=1) AS tag]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (auction Int64!, tag Utf8) key []
        "#]],
    );
    check(
        "SELECT b.auction, u.tag FROM bids b CROSS JOIN UNNEST(b.tags) AS u(tag) WHERE u.tag <> '';",
        expect![[r#"
            source_bids
                source bids.json [auction, tags, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [auction, tags AS __unnest_placeholder(b.tags)]
                unnest [__unnest_placeholder(b.tags)]
                filter __unnest_placeholder(b.tags,depth=1) != 
                project [auction, __unnest_placeholder(b.tags,depth=1) AS tag]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (auction Int64!, tag Utf8) key []
        "#]],
    );
}

#[test]
fn joins_exchange_both_sides_by_key() {
    let sql = "
        CREATE TABLE people (name TEXT, city TEXT) WITH (connector = 'files', path = 'people.csv');
        SELECT b.auction, p.city FROM bids b LEFT JOIN people p ON lower(b.bidder) = p.name AND b.price > 5
        WHERE b.auction IN (SELECT auction FROM bids WHERE price > 1000);";
    check(
        sql,
        expect![[r#"
            source_bids
                source bids.json [auction, bidder, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
              → stdout_rows_3 [forward, append-only]
            source_people
                source people.csv [name, city]
              → stdout_rows_2 [forward, append-only]
            stdout_rows
                project [auction, bidder, price]
                project [auction, bidder, price, lower(bidder) AS __key]
              → stdout_join#0 [hash(__key), append-only]
            stdout_rows_3
                filter price > 1000
                project [auction]
              → stdout_join_2#1 [hash(auction), append-only]
            stdout_rows_2
                filter name IS NOT NULL
              → stdout_join#1 [hash(name), append-only]
            stdout_join
                join left on [__key = name] where price > 5
                project [auction, bidder, price, name, city]
                project [auction, city]
              → stdout_join_2#0 [hash(auction), changing]
            stdout_join_2
                join left semi on [auction = auction]
              → sink_stdout [gather, changing]
            sink_stdout
                sink stdout (auction Int64!, city Utf8) key []
        "#]],
    );
}

#[test]
fn a_scalar_subquery_becomes_a_join() {
    check(
        "SELECT auction FROM bids WHERE price > (SELECT avg(price) FROM bids);",
        expect![[r#"
            source_bids
                source bids.json [auction, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
              → stdout_rows_2 [forward, append-only]
            stdout_rows
                project [price]
              → stdout_aggregate [gather, append-only]
            stdout_rows_2
                project [auction, price]
              → stdout_join#0 [gather, append-only]
            stdout_aggregate
                aggregate [avg(CAST(price AS Float64)) AS avg(bids.price)]
              → stdout_join#1 [gather, changing]
            stdout_join
                join inner on [] where CAST(price AS Float64) > avg(bids.price)
                project [auction]
              → sink_stdout [gather, changing]
            sink_stdout
                sink stdout (auction Int64!) key []
        "#]],
    );
}

#[test]
fn union_all_and_union() {
    check(
        "SELECT bidder FROM bids UNION ALL SELECT upper(bidder) FROM bids;",
        expect![[r#"
            source_bids
                source bids.json [auction, bidder, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
              → stdout_rows_2 [forward, append-only]
            stdout_rows
                project [bidder]
              → stdout_union [forward, append-only]
            stdout_rows_2
                project [upper(bidder) AS bidder]
              → stdout_union [forward, append-only]
            stdout_union
                union [bidder]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (bidder Utf8) key []
        "#]],
    );
    check(
        "WITH x AS (SELECT auction AS a FROM bids) SELECT a FROM x UNION SELECT a + 1 FROM x;",
        expect![[r#"
            source_bids
                source bids.json [auction, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [auction AS a]
              → stdout_rows_2 [forward, append-only]
              → stdout_union [forward, append-only]
            stdout_rows_2
                project [a + 1 AS a]
              → stdout_union [forward, append-only]
            stdout_union
                union [a]
              → stdout_aggregate [hash(a), append-only]
            stdout_aggregate
                aggregate [] by [a]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (a Int64!) key []
        "#]],
    );
}

#[test]
fn values_and_a_select_without_a_table() {
    check(
        "SELECT n, t FROM (VALUES (1, 'a'), (2, NULL)) AS v(n, t) WHERE n > 1;",
        expect![[r#"
        source_stdout_values
            source values, 2 rows
          → stdout_rows [forward, append-only]
        stdout_rows
            filter column1 > 1
            project [column1 AS n, column2 AS t]
          → sink_stdout [gather, append-only]
        sink_stdout
            sink stdout (n Int64!, t Utf8) key []
    "#]],
    );
    check(
        "SELECT 1 AS one;",
        expect![[r#"
        source_stdout_values
            source values, 1 rows
          → stdout_rows [forward, append-only]
        stdout_rows
            project [1 AS one]
          → sink_stdout [gather, append-only]
        sink_stdout
            sink stdout (one Int64!) key []
    "#]],
    );
    check(
        "SELECT count(*) AS n FROM bids WHERE false;",
        expect![[r#"
        source_stdout_values
            source values, 0 rows
          → stdout_rows [forward, append-only]
        stdout_rows
            project [true AS __row]
          → stdout_aggregate [gather, append-only]
        stdout_aggregate
            aggregate [count(1) AS count(Int64(1))]
            project [count(Int64(1)) AS n]
          → sink_stdout [gather, changing]
        sink_stdout
            sink stdout (n Int64!) key []
    "#]],
    );
}

#[test]
fn subqueries_become_joins() {
    check(
        "SELECT auction FROM bids b WHERE NOT EXISTS (SELECT 1 FROM bids c WHERE c.price = b.auction);",
        expect![[r#"
            source_bids
                source bids.json [auction, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
              → stdout_rows_2 [forward, append-only]
            stdout_rows
                project [auction]
              → stdout_join#0 [hash(auction), append-only]
            stdout_rows_2
                filter price IS NOT NULL
                project [price]
              → stdout_join#1 [hash(price), append-only]
            stdout_join
                join left anti on [auction = price]
              → sink_stdout [gather, changing]
            sink_stdout
                sink stdout (auction Int64!) key []
        "#]],
    );
    check(
        "SELECT b.auction, (SELECT max(price) FROM bids c WHERE c.auction = b.auction) AS m FROM bids b;",
        expect![[r#"
            source_bids
                source bids.json [auction, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
              → stdout_rows_2 [forward, append-only]
            stdout_rows
                project [auction, true AS __always_true, price]
              → stdout_aggregate [hash(auction, __always_true), append-only]
            stdout_rows_2
                project [auction]
              → stdout_join#0 [hash(auction), append-only]
            stdout_aggregate
                aggregate [max(price) AS max(c.price)] by [auction, __always_true]
                project [max(c.price), auction]
              → stdout_join#1 [hash(auction), changing]
            stdout_join
                join left on [auction = auction]
                project [auction, max(c.price) AS m]
              → sink_stdout [gather, changing]
            sink_stdout
                sink stdout (auction Int64!, m Int64) key []
        "#]],
    );
}

#[test]
fn an_insert_may_repeat_a_column() {
    let sql = "
        CREATE TABLE out (a TEXT, b BIGINT, c BIGINT, d BIGINT) WITH (connector = 'files');
        INSERT INTO out SELECT CAST(NULL AS TEXT), CAST(NULL AS BIGINT), price, CAST(price AS BIGINT) FROM bids
        UNION ALL SELECT bidder, 1, 1, price FROM bids;";
    check(
        sql,
        expect![[r#"
            source_bids
                source bids.json [auction, bidder, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → out_rows [forward, append-only]
              → out_rows_2 [forward, append-only]
            out_rows
                project [NULL, NULL AS column_2, price, price AS column_4]
              → out_union [forward, append-only]
            out_rows_2
                project [bidder AS NULL, 1 AS column_2, 1 AS price, price AS column_4]
              → out_union [forward, append-only]
            out_union
                union [NULL, column_2, price, column_4]
                project [NULL AS a, column_2 AS b, price AS c, column_4 AS d]
              → sink_out [gather, append-only]
            sink_out
                sink out (a Utf8, b Int64, c Int64, d Int64) key []
        "#]],
    );
}
