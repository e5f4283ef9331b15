//! Which join a query becomes.

use super::explain;
use expect_test::{Expect, expect};

const TABLES: &str = "
CREATE TABLE o (id TEXT, k BIGINT, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'files', path = 'o.json');
CREATE TABLE s (id TEXT, k BIGINT, at TIMESTAMP, WATERMARK FOR at) WITH (connector = 'files', path = 's.json');
CREATE TABLE p (id TEXT PRIMARY KEY, k BIGINT, at TIMESTAMP, WATERMARK FOR at) WITH (connector = 'files', path = 'p.json');
CREATE TABLE u (id TEXT, k BIGINT, at TIMESTAMP) WITH (connector = 'files', path = 'u.json');
CREATE VIEW ow AS SELECT *, tumble(ts, INTERVAL '1 hour') AS w FROM o;
CREATE VIEW sw AS SELECT *, tumble(at, INTERVAL '1 hour') AS w FROM s;
";

/// Returns the lines of joins in the plan of a query, or the error.
fn joins(sql: &str) -> String {
    let text = explain(&format!("{TABLES}{sql}"));
    let is_join = |line: &&str| line.contains("join ") && line.starts_with("    ");
    let lines: Vec<&str> = text.lines().filter(is_join).map(str::trim).collect();
    if lines.is_empty() { text } else { lines.join("\n") + "\n" }
}

fn check(sql: &str, expected: Expect) {
    expected.assert_eq(&joins(sql));
}

/// Every spelling of one interval.
#[test]
fn bounds_are_found_in_any_spelling() {
    for on in [
        "s.at BETWEEN o.ts - INTERVAL '1 minute' AND o.ts + INTERVAL '2 minutes'",
        "o.ts BETWEEN s.at - INTERVAL '2 minutes' AND s.at + INTERVAL '60 seconds'",
        "s.at >= o.ts - INTERVAL '1' MINUTE AND s.at <= o.ts + INTERVAL '2' MINUTE",
        "o.ts <= s.at + INTERVAL '1 minute' AND o.ts + INTERVAL '2 minutes' >= s.at",
        "s.at - o.ts >= INTERVAL '-1 minute' AND s.at - o.ts <= INTERVAL '2 minutes'",
        "s.at - INTERVAL '2 minutes' <= o.ts AND NOT (s.at + INTERVAL '1 minute' < o.ts)",
        "s.at > o.ts - INTERVAL '1 minute' - INTERVAL '1 nanosecond' AND INTERVAL '2 minutes' + o.ts >= s.at",
    ] {
        assert_eq!(
            joins(&format!("SELECT o.id, s.at FROM o JOIN s ON o.id = s.id AND {on};")),
            "interval join inner on [id = id], ts - at from -2 minutes to 1 minute\n",
            "{on}"
        );
    }
}

#[test]
fn other_conditions_stay_and_keys_are_optional() {
    check(
        "SELECT o.id FROM o LEFT JOIN s ON o.k < s.k AND s.at BETWEEN o.ts AND o.ts + INTERVAL '1 day';",
        expect![[r#"
            interval join left on [], ts - at from -1 day to 0 seconds where k < k
        "#]],
    );
    check(
        "SELECT o.id FROM o WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.id = o.id AND s.at BETWEEN o.ts AND o.ts + INTERVAL '1 day');",
        expect![[r#"
            interval join left anti on [id = id], ts - at from -1 day to 0 seconds
        "#]],
    );
    check(
        "SELECT o.id FROM o JOIN s ON o.id = s.id AND o.ts = s.at;",
        expect![[r#"
        interval join inner on [id = id, ts = at], ts - at from 0 seconds to 0 seconds
    "#]],
    );
}

/// An interval join may follow another one, over either of its times.
#[test]
fn times_of_an_interval_join_are_event_times() {
    check(
        "SELECT o.id FROM o JOIN s ON o.id = s.id AND s.at BETWEEN o.ts AND o.ts + INTERVAL '1 hour'
         JOIN o AS o2 ON o2.id = s.id AND o2.ts BETWEEN s.at AND s.at + INTERVAL '1 hour';",
        expect![[r#"
            interval join inner on [id = id], ts - at from -1 hour to 0 seconds
            interval join inner on [id = id], at - ts from -1 hour to 0 seconds
        "#]],
    );
}

#[test]
fn a_join_that_time_does_not_bound_is_a_regular_one() {
    for (settings, from) in [
        ("", "o JOIN s ON o.id = s.id AND s.at >= o.ts"),
        ("", "o JOIN s ON o.id = s.id AND s.at BETWEEN o.ts AND o.ts + INTERVAL '1 month'"),
        ("", "o JOIN u AS s ON o.id = s.id AND s.at BETWEEN o.ts AND o.ts + INTERVAL '1 hour'"),
        ("", "o JOIN p AS s ON o.id = s.id AND s.at BETWEEN o.ts AND o.ts + INTERVAL '1 hour'"),
        ("SET late = 'update';", "o JOIN s ON o.id = s.id AND s.at BETWEEN o.ts AND o.ts + INTERVAL '1 hour'"),
    ] {
        let found = joins(&format!("{settings} SELECT o.id FROM {from};"));
        assert!(found.starts_with("join inner on [id = id]"), "{from}: {found}");
    }
}

#[test]
fn settings_of_joins_are_shown() {
    check(
        "SET emit = 'changes'; SET allowed_lateness = '1 hour';
         SELECT o.id FROM o LEFT JOIN s ON o.id = s.id AND s.at BETWEEN o.ts AND o.ts + INTERVAL '1 hour';",
        expect![[r#"
            interval join left on [id = id], ts - at from -1 hour to 0 seconds, changes, waits 1 hour for late rows
        "#]],
    );
    check(
        "SET state_ttl = '7 days'; SELECT o.id FROM o LEFT JOIN s ON o.id = s.id;",
        expect![[r#"
        join left on [id = id], left rows forgotten after 7 days, right rows forgotten after 7 days
    "#]],
    );
}

#[test]
fn windows_bound_a_join() {
    check(
        "SELECT ow.id FROM ow FULL JOIN sw ON ow.w = sw.w AND ow.k > sw.k;",
        expect![[r#"
        windowed join full on [w = w] where k > k
    "#]],
    );
    check(
        "SELECT a.id FROM HOP(o, ts, INTERVAL '5 minutes', INTERVAL '1 hour') a
         LEFT JOIN HOP(s, at, INTERVAL '5 minutes', INTERVAL '1 hour') b
         ON a.id = b.id AND a.window_start = b.window_start AND a.window_end = b.window_end;",
        expect![[r#"
            windowed join left on [id = id, window_start = window_start, window_end = window_end]
        "#]],
    );
    check(
        "SELECT ow.id FROM ow JOIN sw ON ow.id = sw.id;",
        expect![[r#"
        join inner on [id = id]
    "#]],
    );
}

#[test]
fn versions_of_tables() {
    check(
        "SELECT o.id, p.k FROM o JOIN p FOR SYSTEM_TIME AS OF o.ts ON o.id = p.id;",
        expect![[r#"
        temporal join inner on [id = id], newest at <= ts
    "#]],
    );
    check(
        "SELECT o.id, v.k FROM o LEFT JOIN s FOR SYSTEM_TIME AS OF o.ts AS v ON v.id = o.id AND v.k = o.k;",
        expect![[r#"
            temporal join left on [id = id, k = k], newest at <= ts
        "#]],
    );
    // The time of the rows is no event time, or the rows change: corrected answers.
    check(
        "SELECT u.id, p.k FROM u JOIN p FOR SYSTEM_TIME AS OF u.at ON u.id = p.id;",
        expect![[r#"
        as-of join inner on [id = id], nearest at >= at
    "#]],
    );
    check(
        "SELECT p.id, v.k FROM p LEFT JOIN p FOR SYSTEM_TIME AS OF p.at AS v ON p.id = v.id;",
        expect![[r#"
        as-of join left on [id = id], nearest at >= at
    "#]],
    );
}

/// A condition on the right rows must not choose other ones.
#[test]
fn the_nearest_row_is_chosen_before_conditions_are_looked_at() {
    let sql = "SELECT o.id FROM o ASOF JOIN s ON o.id = s.id AND o.ts > s.at WHERE s.k > 3;";
    expect![[r#"
        source_o
            source o.json [id, ts]
            event time ts, watermark ts
          → stdout_join#0 [hash(id), append-only]
        source_s
            source s.json [id, k, at]
            event time at, watermark at
          → stdout_join#1 [hash(id), append-only]
        stdout_join
            temporal join inner on [id = id], newest at < ts
            project [id, k]
            filter k > 3
            project [id]
          → sink_stdout [gather, append-only]
        sink_stdout
            sink stdout (id Utf8) key []
    "#]]
    .assert_eq(&explain(&format!("{TABLES}{sql}")));
}

#[test]
fn as_of_joins() {
    check(
        "SELECT o.id FROM o ASOF LEFT JOIN s ON o.ts >= s.at;",
        expect![[r#"
        temporal join left on [], newest at <= ts
    "#]],
    );
    check(
        "SELECT o.id FROM o ASOF LEFT JOIN s ON s.at >= o.ts AND s.id = o.id;",
        expect![[r#"
        as-of join left on [id = id], nearest ts <= at
    "#]],
    );
    check(
        "SELECT o.id FROM o ASOF JOIN u ON o.id = u.id AND u.at < o.ts;",
        expect![[r#"
        as-of join inner on [id = id], nearest ts > at
    "#]],
    );
    check(
        "SELECT o.id FROM o ASOF JOIN s MATCH_CONDITION (o.k > s.k) ON o.id = s.id;",
        expect![[r#"
        as-of join left on [id = id], nearest k > k
    "#]],
    );
    check(
        "SET emit = 'changes'; SELECT o.id FROM o ASOF JOIN (SELECT id, at FROM s WHERE k > 1) AS t ON o.ts >= t.at;",
        expect![[r#"
            as-of join inner on [], nearest ts >= at
        "#]],
    );
}
