//! Goldens of plans with windows of every kind and spelling. `UPDATE_EXPECT=1` rewrites them.

use super::{BIDS, explain};
use expect_test::{Expect, expect};

fn check(sql: &str, expected: Expect) {
    expected.assert_eq(&explain(&format!("{BIDS}{sql}")));
}

#[test]
fn hops_share_panes_where_rows_only_come() {
    check(
        "SELECT auction, hop(interval '1 hour', interval '1 day').start AS start, sum(price) AS total FROM bids
         GROUP BY auction, hop(interval '1 hour', interval '1 day');",
        expect![[r#"
            source_bids
                source bids.json [auction, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [auction, ts AS hop(bids.ts, 1 hour, 1 day), price]
              → stdout_aggregate [hash(auction), append-only]
            stdout_aggregate
                aggregate [sum(price) AS sum(bids.price)] by [auction, hop(bids.ts, 1 hour, 1 day)], window hop(bids.ts, 1 hour, 1 day) of panes, final, late rows to dead letters
                project [auction, hop(bids.ts, 1 hour, 1 day) AS hop(1 hour, 1 day), sum(bids.price)]
                project [auction, get_field(hop(1 hour, 1 day), start) AS start, sum(bids.price) AS total]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (auction Int64!, start Timestamp(ns)!, total Int64) key []
        "#]],
    );
}

#[test]
fn hops_in_from_share_panes_too() {
    check(
        "SELECT window_end, count(*) AS n, window_start
         FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY)) WHERE price > 10
         GROUP BY window_start, window_end;",
        expect![[r#"
            source_bids
                source bids.json [auction, price, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                filter price > 10
                project [ts AS hop(bids.ts, 1 hour, 1 day)]
              → stdout_aggregate [gather, append-only]
            stdout_aggregate
                aggregate [count(1) AS count(Int64(1))] by [hop(bids.ts, 1 hour, 1 day)], window hop(bids.ts, 1 hour, 1 day) of panes, final, late rows to dead letters
                project [get_field(hop(bids.ts, 1 hour, 1 day), start) AS window_start, get_field(hop(bids.ts, 1 hour, 1 day), end) AS window_end, count(Int64(1))]
                project [window_end, count(Int64(1)) AS n, window_start]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (window_end Timestamp(ns)!, n Int64!, window_start Timestamp(ns)!) key []
        "#]],
    );
}

#[test]
fn rows_are_copied_where_early_results_are_wanted() {
    check(
        "SET emit = 'changes';
         SELECT auction, w.start AS start, n FROM (
            SELECT auction, hop(ts, interval '1 hour', interval '1 day') AS w, count(*) AS n FROM bids GROUP BY auction, w
         );",
        expect![[r#"
            source_bids
                source bids.json [auction, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [auction, ts, hop(ts, interval '1 hour', interval '1 day') AS hop(bids.ts, 1 hour, 1 day)]
                unnest [hop(bids.ts, 1 hour, 1 day)], nulls kept
                project [auction, hop(bids.ts, 1 hour, 1 day)]
              → stdout_aggregate [hash(auction), append-only]
            stdout_aggregate
                aggregate [count(1) AS count(Int64(1))] by [auction, hop(bids.ts, 1 hour, 1 day)], window hop(bids.ts, 1 hour, 1 day), changes, late rows to dead letters
                project [auction, get_field(hop(bids.ts, 1 hour, 1 day), start) AS start, count(Int64(1)) AS n]
              → sink_stdout [gather, changing]
            sink_stdout
                sink stdout (auction Int64!, start Timestamp(ns)!, n Int64!) key []
        "#]],
    );
}

#[test]
fn sessions_are_kept_apart_by_what_else_is_grouped_by() {
    check(
        "SELECT bidder, upper(extra['channel']) AS channel, session(interval '30 minutes') AS w, count(*) AS n FROM bids
         GROUP BY 1, 2, 3;",
        expect![[r#"
            source_bids
                source bids.json [auction, bidder, extra, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [bidder, extra, ts]
                project [bidder, extra, ts, upper(get_field(extra, channel)) AS __key_3]
              → stdout_session [hash(bidder, __key_3), append-only]
            stdout_session
                session of ts by [bidder, __key_3], gap 1800000000000 ns, final, late rows to dead letters
                project [bidder, extra, ts, session(bids.ts, 30 minutes)]
                project [bidder, extra, session(bids.ts, 30 minutes)]
                project [bidder, upper(get_field(extra, channel)) AS upper(bids.extra[channel]), session(bids.ts, 30 minutes) AS session(30 minutes)]
              → stdout_aggregate [hash(bidder, upper(bids.extra[channel])), append-only]
            stdout_aggregate
                aggregate [count(1) AS count(Int64(1))] by [bidder, upper(bids.extra[channel]), session(30 minutes)], window session(30 minutes), final, late rows to dead letters
                project [bidder, upper(bids.extra[channel]) AS channel, session(30 minutes) AS w, count(Int64(1)) AS n]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (bidder Utf8, channel Utf8, w Struct("start": non-null Timestamp(ns), "end": non-null Timestamp(ns))!, n Int64!) key []
        "#]],
    );
}

#[test]
fn sessions_in_from_are_kept_apart_by_their_partition() {
    check(
        "SELECT bidder, window_start, window_end, count(*) AS n
         FROM TABLE(SESSION(DATA => TABLE bids PARTITION BY bidder, TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '30' MINUTE))
         GROUP BY bidder, window_start, window_end;",
        expect![[r#"
            source_bids
                source bids.json [auction, bidder, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [bidder, ts]
              → stdout_session [hash(bidder), append-only]
            stdout_session
                session of ts by [bidder], gap 1800000000000 ns, final, late rows to dead letters
                project [bidder, get_field(session(bids.ts, 30 minutes, bids.bidder), start) AS window_start, get_field(session(bids.ts, 30 minutes, bids.bidder), end) AS window_end]
              → stdout_aggregate [hash(bidder, window_start), append-only]
            stdout_aggregate
                aggregate [count(1) AS count(Int64(1))] by [bidder, window_start, window_end], window window_end, final, late rows to dead letters
                project [bidder, window_start, window_end, count(Int64(1)) AS n]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (bidder Utf8, window_start Timestamp(ns)!, window_end Timestamp(ns)!, n Int64!) key []
        "#]],
    );
}

#[test]
fn a_part_of_a_window_is_enough_to_group_by_it() {
    check(
        "SELECT window_start, count(*) AS n FROM tumble(bids, ts, INTERVAL '1 hour', INTERVAL '10 minutes') GROUP BY window_start;",
        expect![[r#"
            source_bids
                source bids.json [auction, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [tumble(ts, interval '1 hour', UTC, 600000000000) AS __window]
                project [get_field(__window, start) AS window_start, get_field(__window, end) AS window_end]
              → stdout_aggregate [hash(window_start), append-only]
            stdout_aggregate
                aggregate [count(1) AS count(Int64(1))] by [window_start, window_end], window window_end, final, late rows to dead letters
                project [window_start, count(Int64(1)) AS n]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (window_start Timestamp(ns)!, n Int64!) key []
        "#]],
    );
    // Several windows that grow start together, so this is a grouping like any other.
    check(
        "SELECT window_start, count(*) AS n FROM cumulate(bids, ts, INTERVAL '1 hour', INTERVAL '1 day') GROUP BY window_start;",
        expect![[r#"
            source_bids
                source bids.json [auction, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [ts]
                project [ts, cumulate(ts, interval '1 hour', interval '1 day') AS cumulate(bids.ts, 1 hour, 1 day)]
                unnest [cumulate(bids.ts, 1 hour, 1 day)], nulls kept
                project [get_field(cumulate(bids.ts, 1 hour, 1 day), start) AS window_start]
              → stdout_aggregate [hash(window_start), append-only]
            stdout_aggregate
                aggregate [count(1) AS count(Int64(1))] by [window_start]
                project [window_start, count(Int64(1)) AS n]
              → sink_stdout [gather, changing]
            sink_stdout
                sink stdout (window_start Timestamp(ns)!, n Int64!) key []
        "#]],
    );
}

#[test]
fn windows_of_windows_are_final() {
    check(
        "CREATE VIEW small AS
         SELECT auction, tumble(interval '1 minute') AS w, count(*) AS n FROM bids GROUP BY auction, w;
         SELECT tumble(w.end, interval '1 hour').start AS hour, max(n) AS most FROM small
         GROUP BY tumble(w.end, interval '1 hour');",
        expect![[r#"
            source_bids
                source bids.json [auction, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [auction, tumble(ts, interval '1 minute') AS tumble(1 minute)]
              → stdout_aggregate [hash(auction), append-only]
            stdout_aggregate
                aggregate [count(1) AS count(Int64(1))] by [auction, tumble(1 minute)], window tumble(1 minute), final, late rows to dead letters
                project [tumble(1 minute) AS w, count(Int64(1)) AS n]
                project [tumble(get_field(w, end), interval '1 hour') AS tumble(small.w[end], 1 hour), n]
              → stdout_aggregate_2 [hash(tumble(small.w[end], 1 hour)), append-only]
            stdout_aggregate_2
                aggregate [max(n) AS max(small.n)] by [tumble(small.w[end], 1 hour)], window tumble(small.w[end], 1 hour), final, late rows to dead letters
                project [get_field(tumble(small.w[end], 1 hour), start) AS hour, max(small.n) AS most]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (hour Timestamp(ns)!, most Int64) key []
        "#]],
    );
}

#[test]
fn windows_without_rows_need_all_rows_in_one_place() {
    check(
        "SET emit_empty = 'true';
         SELECT auction, tumble(interval '1 month').start AS month, count(*) AS n FROM bids
         GROUP BY auction, tumble(interval '1 month');",
        expect![[r#"
            source_bids
                source bids.json [auction, ts]
                event time ts, watermark ts - interval '5 seconds'
              → stdout_rows [forward, append-only]
            stdout_rows
                project [auction, tumble(ts, interval '1 month') AS tumble(1 month)]
              → stdout_aggregate [gather, append-only]
            stdout_aggregate
                aggregate [count(1) AS count(Int64(1))] by [auction, tumble(1 month)], window tumble(1 month), final, late rows to dead letters, windows without rows too
                project [auction, get_field(tumble(1 month), start) AS month, count(Int64(1)) AS n]
              → sink_stdout [gather, append-only]
            sink_stdout
                sink stdout (auction Int64!, month Timestamp(ns)!, n Int64!) key []
        "#]],
    );
}
