//! Goldens of plans with windows, corrections and the functions of the domain. `UPDATE_EXPECT=1` rewrites them.

use super::{BIDS, explain};
use expect_test::{Expect, expect};

fn check(sql: &str, expected: Expect) {
    expected.assert_eq(&explain(&format!("{BIDS}{sql}")));
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
                event time ts, watermark ts - interval '5 seconds'
              → out_rows [forward, append-only]
            out_rows
                project [auction, tumble(ts, interval '1 month') AS tumble(1 month)]
              → out_aggregate [hash(auction), append-only]
            out_aggregate
                aggregate [count(1) AS count(Int64(1))] by [auction, tumble(1 month)], window tumble(1 month), final, late rows to dead letters
                project [get_field(tumble(1 month), start) AS start, get_field(tumble(1 month), end) AS until, auction, count(Int64(1)) AS n]
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
            source bids.json [auction, price, ts]
            event time ts, watermark ts - interval '5 seconds'
          → stdout_rows [forward, append-only]
        stdout_rows
            project [tumble(ts, interval '1 hour', Europe/Oslo) AS tumble(bids.ts, 1 hour, 'Europe/Oslo'), price]
          → stdout_aggregate [hash(tumble(bids.ts, 1 hour, 'Europe/Oslo')), append-only]
        stdout_aggregate
            aggregate [sum(price) AS sum(bids.price)] by [tumble(bids.ts, 1 hour, 'Europe/Oslo')], window tumble(bids.ts, 1 hour, 'Europe/Oslo'), final, late rows to dead letters
            project [tumble(bids.ts, 1 hour, 'Europe/Oslo') AS window, sum(bids.price) AS total]
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
        INSERT INTO late SELECT w['start'], n FROM (SELECT tumble(interval '1 day') w, count(*) n FROM bids GROUP BY w);
        SET emit = 'changes'; SET late = 'update'; SET allowed_lateness = '30 days'; SET time_zone = 'Europe/Oslo';
        INSERT INTO early SELECT w['start'], n FROM (SELECT tumble(interval '1 day') w, count(*) n FROM bids GROUP BY w);";
    check(
        sql,
        expect![[r#"
            source_bids
                source bids.json [auction, ts]
                event time ts, watermark ts - interval '5 seconds'
              → late_rows [forward, append-only]
              → early_rows [forward, append-only]
            late_rows
                project [tumble(ts, interval '1 day') AS tumble(1 day)]
              → late_aggregate [hash(tumble(1 day)), append-only]
            early_rows
                project [tumble(ts, interval '1 day', Europe/Oslo) AS tumble(1 day)]
              → early_aggregate [hash(tumble(1 day)), append-only]
            late_aggregate
                aggregate [count(1) AS count(Int64(1))] by [tumble(1 day)], window tumble(1 day), final, late rows to dead letters
                project [get_field(tumble(1 day), start) AS start, count(Int64(1)) AS n]
              → sink_late [gather, append-only]
            early_aggregate
                aggregate [count(1) AS count(Int64(1))] by [tumble(1 day)], window tumble(1 day), changes, late rows update for 2592000000000000 ns
                project [get_field(tumble(1 day), start) AS start, count(Int64(1)) AS n]
              → sink_early [gather, changing]
            sink_late
                sink late (start Timestamp(ns), n Int64) key []
            sink_early
                sink early (start Timestamp(ns)!, n Int64) key [0]
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
                project [_company_id, tumble(submitted_at, interval '3 months') AS tumble(3 months), rating]
              → quarters_aggregate [hash(_company_id), changing]
            quarters_aggregate
                aggregate [count(1) AS count(Int64(1)), avg(rating) AS avg(feedback.rating)] by [_company_id, tumble(3 months)], window tumble(3 months), changes, late rows to dead letters
                project [_company_id AS company, get_field(tumble(3 months), start) AS start, count(Int64(1)) AS n, avg(feedback.rating) AS rating]
                not null [company]
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
            source_feedback
                source inbox [value, position]
                decode contract buddy.feedback.submitted v1
                project [_id, _time, _position, feedback_text, submitted_at]
                event time submitted_at, watermark submitted_at
              → stdout_dedup [hash(_id), append-only]
            stdout_dedup
                dedup by [_id], newest _time
                project [_id, _time, _position, feedback_text, submitted_at, screen(feedback_text) AS __call_0]
                filter get_field(__call_0, decision) != block
                project [__call_0 AS screened]
                project [get_field(screened, text) AS text, get_field(screened, decision) AS decision]
              → sink_stdout [gather, changing]
            sink_stdout
                sink stdout (text Utf8, decision Utf8) key []
        "#]],
    );
}

#[test]
fn who_groups_by_the_start_of_a_window_groups_by_the_window() {
    let sql = "
        CREATE TABLE out WITH (connector = 'files');
        INSERT INTO out
        SELECT tumble(interval '1 day')['start'] AS start, tumble(interval '1 day')['end'] AS until, sum(price) AS total
        FROM bids GROUP BY 1, 2;";
    check(
        sql,
        expect![[r#"
            source_bids
                source bids.json [auction, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → out_rows [forward, append-only]
            out_rows
                project [tumble(ts, interval '1 day') AS __common_expr_1, price]
              → out_aggregate [hash(__common_expr_1), append-only]
            out_aggregate
                aggregate [sum(price) AS sum(bids.price)] by [__common_expr_1], window __common_expr_1, final, late rows to dead letters
                project [get_field(__common_expr_1, start) AS tumble(1 day)[start], get_field(__common_expr_1, end) AS tumble(1 day)[end], sum(bids.price)]
                project [tumble(1 day)[start] AS start, tumble(1 day)[end] AS until, sum(bids.price) AS total]
              → sink_out [gather, append-only]
            sink_out
                sink out (start Timestamp(ns)!, until Timestamp(ns)!, total Int64) key []
        "#]],
    );
}

#[test]
fn an_aggregate_of_closed_windows_is_final_too() {
    let sql = "
        CREATE TABLE out WITH (connector = 'files');
        INSERT INTO out
        SELECT w, max(total) AS most
        FROM (SELECT auction, tumble(interval '1 day') AS w, sum(price) AS total FROM bids GROUP BY auction, w)
        GROUP BY w;";
    check(
        sql,
        expect![[r#"
            source_bids
                source bids.json [auction, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → out_rows [forward, append-only]
            out_rows
                project [auction, tumble(ts, interval '1 day') AS tumble(1 day), price]
              → out_aggregate [hash(auction), append-only]
            out_aggregate
                aggregate [sum(price) AS sum(bids.price)] by [auction, tumble(1 day)], window tumble(1 day), final, late rows to dead letters
                project [tumble(1 day) AS w, sum(bids.price) AS total]
              → out_aggregate_2 [hash(w), append-only]
            out_aggregate_2
                aggregate [max(total)] by [w], window w, final, late rows to dead letters
                project [w, max(total) AS most]
              → sink_out [gather, append-only]
            sink_out
                sink out (w Struct("start": non-null Timestamp(ns), "end": non-null Timestamp(ns))!, most Int64) key []
        "#]],
    );
}

#[test]
fn fiscal_years_and_fields_by_name() {
    let sql = "SELECT window.start, window.end, n FROM (
        SELECT tumble(ts, interval '1 year', 'Europe/Oslo', timestamp '2024-04-01') AS window, count(*) AS n
        FROM bids GROUP BY 1);";
    check(
        sql,
        expect![[r#"
            source_bids
                source bids.json [auction, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [tumble(ts, interval '12 months', Europe/Oslo, 1711929600000000000) AS tumble(bids.ts, 12 months, 'Europe/Oslo', Utf8("2024-04-01"))]
              → stdout_aggregate [hash(tumble(bids.ts, 12 months, 'Europe/Oslo', Utf8("2024-04-01"))), append-only]
            stdout_aggregate
                aggregate [count(1) AS count(Int64(1))] by [tumble(bids.ts, 12 months, 'Europe/Oslo', Utf8("2024-04-01"))], window tumble(bids.ts, 12 months, 'Europe/Oslo', Utf8("2024-04-01")), final, late rows to dead letters
                project [get_field(tumble(bids.ts, 12 months, 'Europe/Oslo', Utf8("2024-04-01")), start) AS start, get_field(tumble(bids.ts, 12 months, 'Europe/Oslo', Utf8("2024-04-01")), end) AS end, count(Int64(1)) AS n]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (start Timestamp(ns)!, end Timestamp(ns)!, n Int64!) key []
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

#[test]
fn fields_of_calls_and_quarters() {
    let sql = "
        SELECT tumble(ts, INTERVAL '1 quarter', 'Europe/Oslo').start AS quarter, count(*) AS n FROM bids
        GROUP BY tumble(ts, INTERVAL '1 quarter', 'Europe/Oslo');";
    check(
        sql,
        expect![[r#"
            source_bids
                source bids.json [auction, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [tumble(ts, interval '3 months', Europe/Oslo) AS tumble(bids.ts, 3 months, 'Europe/Oslo')]
              → stdout_aggregate [hash(tumble(bids.ts, 3 months, 'Europe/Oslo')), append-only]
            stdout_aggregate
                aggregate [count(1) AS count(Int64(1))] by [tumble(bids.ts, 3 months, 'Europe/Oslo')], window tumble(bids.ts, 3 months, 'Europe/Oslo'), final, late rows to dead letters
                project [get_field(tumble(bids.ts, 3 months, 'Europe/Oslo'), start) AS quarter, count(Int64(1)) AS n]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (quarter Timestamp(ns)!, n Int64!) key []
        "#]],
    );
}
