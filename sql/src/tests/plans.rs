//! Goldens of plans. `UPDATE_EXPECT=1` rewrites them.

use super::explain;
use expect_test::{Expect, expect};

const BIDS: &str = "
CREATE TABLE bids (
    auction BIGINT NOT NULL, bidder TEXT, price BIGINT, tags TEXT[], extra STRUCT<channel TEXT, url TEXT>,
    ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'files', path = 'bids.json', format = 'json', type = 'source');
";

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
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → stdout_rows [forward, append-only]
        stdout_rows
            project [auction, price]
            filter price > 100
            project [auction, price * 2 AS twice]
          → sink_stdout [gather, append-only]
        sink_stdout
            sink stdout (auction Int64!, twice Int64) key []
    "#]],
    );
}

#[test]
fn windows_over_event_time_are_final_on_append_only_input() {
    let sql = "
        CREATE TABLE out WITH (connector = 'files', path = 'out.json');
        INSERT INTO out
        SELECT window.start AS start, window['end'] AS until, auction, n
        FROM (
            SELECT auction, tumble(interval '1 month') AS window, count(*) AS n FROM bids
            GROUP BY auction, window
        );";
    check(
        sql,
        expect![[r#"
        source_bids
            source bids.json [auction, ts]
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → out_rows [forward, append-only]
        out_rows
            project [auction, tumble(ts, IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 }) AS tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 }"))]
          → out_aggregate [hash(auction), append-only]
        out_aggregate
            aggregate [count(1) AS count(Int64(1))] by [auction, tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 }"))], window tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 }")), final, late rows to dead letters
            project [get_field(tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 }")), start) AS start, get_field(tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 }")), end) AS until, auction, count(Int64(1)) AS n]
          → sink_out [gather, append-only]
        sink_out
            sink out (start Timestamp(ns)!, until Timestamp(ns)!, auction Int64!, n Int64!) key []
    "#]],
    );
}

#[test]
fn windows_can_be_grouped_by_expression_and_by_number() {
    let by = |group: &str| {
        explain(&format!(
            "{BIDS} SELECT tumble(ts, interval '1 hour', 'Europe/Oslo') AS window, sum(price) AS total FROM bids GROUP BY {group};"
        ))
    };
    let by_alias = by("window");
    assert_eq!(by_alias, by("1"));
    assert_eq!(by_alias, by("tumble(ts, interval '1 hour', 'Europe/Oslo')"));
    expect![[r#"
        source_bids
            source bids.json [price, ts]
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → stdout_rows [forward, append-only]
        stdout_rows
            project [tumble(ts, IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }, Europe/Oslo) AS tumble(bids.ts,IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }"),Utf8("Europe/Oslo")), price]
          → stdout_aggregate [hash(tumble(bids.ts,IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }"),Utf8("Europe/Oslo"))), append-only]
        stdout_aggregate
            aggregate [sum(price) AS sum(bids.price)] by [tumble(bids.ts,IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }"),Utf8("Europe/Oslo"))], window tumble(bids.ts,IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }"),Utf8("Europe/Oslo")), final, late rows to dead letters
            project [tumble(bids.ts,IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }"),Utf8("Europe/Oslo")) AS window, sum(bids.price) AS total]
          → sink_stdout [gather, append-only]
        sink_stdout
            sink stdout (window Struct("start": non-null Timestamp(ns), "end": non-null Timestamp(ns))!, total Int64) key []
    "#]].assert_eq(&by_alias);
}

#[test]
fn settings_apply_to_the_statements_after_them() {
    let sql = "
        CREATE TABLE early (start TIMESTAMP, n BIGINT, PRIMARY KEY (start)) WITH (connector = 'store');
        CREATE TABLE late (start TIMESTAMP, n BIGINT) WITH (connector = 'files');
        INSERT INTO late SELECT tumble(interval '1 day')['start'], count(*) FROM bids GROUP BY 1;
        SET emit = 'changes'; SET late = 'update'; SET allowed_lateness = '30 days'; SET time_zone = 'Europe/Oslo';
        INSERT INTO early SELECT w['start'], n FROM (SELECT tumble(interval '1 day') w, count(*) n FROM bids GROUP BY w);";
    check(
        sql,
        expect![[r#"
        line 9, column 16: the rows of this query are corrected later, but 'late' can only be appended to
        help: group by tumble(interval '…') with SET emit = 'final', or write to a table with a PRIMARY KEY
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
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → totals_rows [forward, append-only]
        totals_rows
            project [auction, bidder, price]
          → totals_aggregate [hash(bidder), append-only]
        totals_aggregate
            aggregate [count(1) AS count(Int64(1)), count(DISTINCT auction) AS count(DISTINCT bids.auction), sum(price) FILTER (price > 10) AS sum(bids.price) FILTER (WHERE bids.price > Int64(10))] by [bidder]
            filter count(Int64(1)) > 1
            project [bidder, count(Int64(1)) AS count(*), count(DISTINCT bids.auction), sum(bids.price) FILTER (WHERE bids.price > Int64(10))]
            project [bidder, count(*) AS n, count(DISTINCT bids.auction) AS kinds, sum(bids.price) FILTER (WHERE bids.price > Int64(10)) AS dear]
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
            source bids.json [bidder, ts]
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → stdout_rows [forward, append-only]
        stdout_rows
            project [bidder]
            project [lower(bidder) AS lower(bids.bidder)]
          → stdout_aggregate [hash(lower(bids.bidder)), append-only]
        stdout_aggregate
            aggregate [] by [lower(bids.bidder)]
            project [true AS __row]
          → stdout_aggregate_2 [gather, changing]
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
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → view_dear [forward, append-only]
        view_dear
            filter price > 100
          → a_rows [forward, append-only]
          → b_rows [forward, append-only]
        a_rows
            project [auction]
          → sink_a [gather, append-only]
        b_rows
            project [price, ts]
            project [tumble(ts, IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }) AS tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }")), price]
          → b_aggregate [hash(tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }"))), append-only]
        sink_a
            sink a (auction Int64!) key []
        b_aggregate
            aggregate [max(price) AS max(dear.price)] by [tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }"))], window tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }")), final, late rows to dead letters
            project [tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }")) AS window, max(dear.price) AS top]
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
            source bids.json [bidder, price, extra, ts]
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → all_names_rows [forward, append-only]
          → all_names_rows_2 [forward, append-only]
        source_all_names_values
            source values, 1 rows
          → all_names_rows_3 [forward, append-only]
        all_names_rows
            project [bidder, price]
            project [bidder AS name, CAST(price AS Decimal128(10, 2)) AS amount]
          → out_union [forward, append-only]
        all_names_rows_2
            project [extra]
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
            source bids.json [bidder, ts]
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → a_rows [forward, append-only]
        a_rows
            project [bidder]
            filter bidder != x
            project [bidder AS name]
          → a_aggregate [hash(name), append-only]
        a_aggregate
            aggregate [] by [name]
            project [upper(name) AS name]
          → sink_a [gather, changing]
          → sink_b [gather, changing]
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
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → stdout_rows [forward, append-only]
        stdout_rows
            project [auction, tags]
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
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → stdout_rows [forward, append-only]
        stdout_rows
            project [auction, tags]
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
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → stdout_rows [forward, append-only]
          → stdout_rows_3 [forward, append-only]
        source_people
            source people.csv [name, city]
          → stdout_rows_2 [forward, append-only]
        stdout_rows
            project [auction, bidder, price]
            project [auction, bidder, price, lower(bidder) AS __key_3]
          → stdout_join#0 [hash(__key_3), append-only]
        stdout_rows_3
            project [auction, price]
            filter price > 1000
            project [auction]
          → stdout_join_2#1 [hash(auction), append-only]
        stdout_rows_2
            filter name IS NOT NULL
          → stdout_join#1 [hash(name), append-only]
        stdout_join
            join left on [__key_3 = name] where price > 5
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
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
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
fn contract_tables_decode_and_correct() {
    let sql = "
        CREATE TABLE feedback WITH (connector = 'inbox', path = 'inbox', contract = 'buddy.feedback.submitted');
        CREATE TABLE quarters (company TEXT, start TIMESTAMP, n BIGINT, rating DOUBLE, PRIMARY KEY (company, start))
        WITH (connector = 'store');
        INSERT INTO quarters
        SELECT company, w['start'], n, rating
        FROM (SELECT _company_id AS company, tumble(interval '3 months') AS w, count(*) AS n, avg(rating) AS rating
              FROM feedback GROUP BY 1, 2);";
    check(
        sql,
        expect![[r#"
        source_feedback
            source inbox [value, position]
            decode contract buddy.feedback.submitted v1
            project [_id, _time, _company_id, _position, rating, submitted_at]
            event time submitted_at, watermark submitted_at
          → quarters_dedup [hash(_id), append-only]
        quarters_dedup
            dedup by [_id], newest _time
            project [_company_id, rating, submitted_at]
            project [_company_id, tumble(submitted_at, IntervalMonthDayNano { months: 3, days: 0, nanoseconds: 0 }) AS tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 3, days: 0, nanoseconds: 0 }")), rating]
          → quarters_aggregate [hash(_company_id), changing]
        quarters_aggregate
            aggregate [count(1) AS count(Int64(1)), avg(rating) AS avg(feedback.rating)] by [_company_id, tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 3, days: 0, nanoseconds: 0 }"))], window tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 3, days: 0, nanoseconds: 0 }")), changes, late rows to dead letters
            project [_company_id AS company, get_field(tumble(IntervalMonthDayNano("IntervalMonthDayNano { months: 3, days: 0, nanoseconds: 0 }")), start) AS w[start], count(Int64(1)) AS n, avg(feedback.rating) AS rating]
            project [company, w[start] AS start, n, rating]
          → sink_quarters [gather, changing]
        sink_quarters
            sink quarters (company Utf8!, start Timestamp(ns)!, n Int64, rating Float64) key [0, 1]
    "#]],
    );
}

#[test]
fn heavy_functions_are_called_once() {
    let sql = "
        CREATE TABLE feedback WITH (connector = 'inbox', path = 'inbox', contract = 'buddy.feedback.submitted');
        SELECT screened['text'] AS text, screened['decision'] AS decision
        FROM (SELECT screen(feedback_text) AS screened FROM feedback) WHERE screened['decision'] <> 'block';";
    check(
        sql,
        expect![[r#"
        line 9, column 22: there is no function 'screen'
        help: the functions are: abs, acos, acosh, any_value, approx_distinct, approx_median, approx_percentile_cont, approx_percentile_cont_with_weight, array_add, array_agg, array_any_value, array_append, array_avg, array_cat, array_compact, array_concat, array_contains, array_dims, array_distance, array_distinct and 278 more
    "#]],
    );
}

#[test]
fn union_all_and_union() {
    check(
        "SELECT bidder FROM bids UNION ALL SELECT upper(bidder) FROM bids;",
        expect![[r#"
        source_bids
            source bids.json [bidder, ts]
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → stdout_rows [forward, append-only]
          → stdout_rows_2 [forward, append-only]
        stdout_rows
            project [bidder]
          → stdout_union [forward, append-only]
        stdout_rows_2
            project [bidder]
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
            event time ts, watermark ts - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }
          → stdout_rows [forward, append-only]
        stdout_rows
            project [auction]
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
          → sink_stdout [gather, changing]
        sink_stdout
            sink stdout (a Int64!) key []
    "#]],
    );
}

#[test]
fn a_source_with_a_key_is_corrected_by_version() {
    let sql = "
        CREATE TABLE people (id BIGINT PRIMARY KEY, name VARCHAR(20), changed TIMESTAMP)
        WITH (connector = 'inbox', path = 'people.csv', version = 'changed');
        SELECT name FROM people;";
    check(
        sql,
        expect![[r#"
        source_people
            source people.csv [id, name, changed]
          → stdout_dedup [hash(id), append-only]
        stdout_dedup
            dedup by [id], newest changed
            project [name]
          → sink_stdout [gather, changing]
        sink_stdout
            sink stdout (name Utf8) key []
    "#]],
    );
}
