//! Interval joins as scripts, against the batch answer, and over long streams.

use super::*;
use crate::oracle::{Table, batch_answer};
use crate::restarts::{report, restarting};
use crate::testing::{barrier, batch, context, expr, run, schema};
use arrow::array::AsArray;
use arrow::datatypes::TimestampNanosecondType;
use expect_test::{Expect, expect};
use headwater_core::{EventTime, Message, Operator, Output, Watermark};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

/// How many cases each join is tried on.
const N_CASES: u64 = 6;

fn join(kind: JoinKind, (min_ns, max_ns): (i64, i64), early: bool) -> (IntervalJoin, [SchemaRef; 2]) {
    let (left, right) = (schema("a int, t time"), schema("b int, u time"));
    let on = vec![(expr("a", &left), expr("b", &right))];
    let inputs = [left.clone(), right.clone()];
    let config = IntervalJoinConfig {
        kind,
        left,
        right,
        on,
        filter: None,
        null_equals_null: false,
        times: [TimeOf::Column(1), TimeOf::Column(1)],
        min_ns,
        max_ns,
        early,
        allowed_lateness_ns: 0,
    };
    (IntervalJoin::new(config).expect("a join"), inputs)
}

fn check(kind: JoinKind, early: bool, script: &str, output: Expect) {
    let (join, inputs) = join(kind, (-2, 3), early);
    output.assert_eq(&run(&join, &inputs, script));
}

#[test]
fn describes_itself() {
    let join = join(JoinKind::Left, (-2, 60_000_000_000), false).0;
    expect!["interval join left on [a = b], t - u from -2 nanoseconds to 1 minute"].assert_eq(&join.describe());
}

const SCRIPT: &str =
    "+ 1 10\n+ 1 20\n+ _ 12\n\n#1\n+ 1 7\n+ 1 12\n+ 1 13\n\nwatermark 11\nwatermark 12\n\n#0\n+ 1 12\n+ 1 14\n
    watermark 13\nwatermark 22\nwatermark max";

#[test]
fn pairs_come_with_their_second_row_and_others_when_the_watermark_allows() {
    check(
        JoinKind::Inner,
        false,
        SCRIPT,
        expect![[r#"
        + 1 1970-01-01T00:00:00.000000010 1 1970-01-01T00:00:00.000000007
        + 1 1970-01-01T00:00:00.000000010 1 1970-01-01T00:00:00.000000012
        watermark 8
        watermark 9
        + 1 1970-01-01T00:00:00.000000014 1 1970-01-01T00:00:00.000000012
        + 1 1970-01-01T00:00:00.000000014 1 1970-01-01T00:00:00.000000013
        dead letter late []: the row at 0.000000012 came after the watermark had passed it: {"a":1,"t":"1970-01-01T00:00:00.000000012"}
        watermark 10
        watermark 19
        watermark 9223372036854775807
    "#]],
    );
    check(
        JoinKind::Full,
        false,
        SCRIPT,
        expect![[r#"
            + _ 1970-01-01T00:00:00.000000012 _ _
            + 1 1970-01-01T00:00:00.000000010 1 1970-01-01T00:00:00.000000007
            + 1 1970-01-01T00:00:00.000000010 1 1970-01-01T00:00:00.000000012
            watermark 8
            watermark 9
            + 1 1970-01-01T00:00:00.000000014 1 1970-01-01T00:00:00.000000012
            + 1 1970-01-01T00:00:00.000000014 1 1970-01-01T00:00:00.000000013
            dead letter late []: the row at 0.000000012 came after the watermark had passed it: {"a":1,"t":"1970-01-01T00:00:00.000000012"}
            watermark 10
            + 1 1970-01-01T00:00:00.000000020 _ _
            watermark 19
            watermark 9223372036854775807
        "#]],
    );
}

#[test]
fn early_results_are_taken_back() {
    check(
        JoinKind::Left,
        true,
        "+ 1 10\n+ 1 20\n\n#1\n+ 1 12\n+ 1 11\n\nwatermark max",
        expect![[r#"
        + 1 1970-01-01T00:00:00.000000010 _ _
        + 1 1970-01-01T00:00:00.000000020 _ _
        - 1 1970-01-01T00:00:00.000000010 _ _
        + 1 1970-01-01T00:00:00.000000010 1 1970-01-01T00:00:00.000000012
        + 1 1970-01-01T00:00:00.000000010 1 1970-01-01T00:00:00.000000011
        watermark 9223372036854775807
    "#]],
    );
}

#[test]
fn semi_and_anti_joins_show_a_row_once() {
    let script = "+ 1 10\n+ 1 20\n\n#1\n+ 1 12\n+ 1 11\n\n#0\n+ 1 11\n+ 2 11\n\nwatermark 13\nwatermark max";
    check(
        JoinKind::LeftSemi,
        false,
        script,
        expect![[r#"
        + 1 1970-01-01T00:00:00.000000010
        + 1 1970-01-01T00:00:00.000000011
        watermark 11
        watermark 9223372036854775807
    "#]],
    );
    check(
        JoinKind::LeftAnti,
        false,
        script,
        expect![[r#"
        + 2 1970-01-01T00:00:00.000000011
        watermark 11
        + 1 1970-01-01T00:00:00.000000020
        watermark 9223372036854775807
    "#]],
    );
}

/// Random rows that are never behind the watermark.
fn rows(rng: &mut ChaCha8Rng, watermark: i64, there: &mut Vec<Vec<Option<String>>>) -> Vec<(i64, Vec<Option<String>>)> {
    let mut rows = Vec::new();
    for _ in 0..rng.random_range(1..6) {
        let value = |rng: &mut ChaCha8Rng, n: i64| rng.random_bool(0.9).then(|| rng.random_range(0..n).to_string());
        let time = rng.random_bool(0.95).then(|| (watermark + 1 + rng.random_range(0..12)).to_string());
        let row = vec![value(rng, 3), time, value(rng, 6)];
        there.push(row.clone());
        rows.push((1, row));
    }
    rows
}

/// Checks what one call emitted: it only comes, unless early results are asked for, and is not behind the watermark.
fn take(out: &mut Output, join: &IntervalJoin, reached: &mut i64, table: &mut Table, what: &str) {
    for message in out.take_messages() {
        match message {
            Message::Batch(batch) => {
                assert!(join.output_changing() || batch.diffs.is_none(), "{what}: the output changes");
                for (side, column) in [(0, 1), (1, 4)] {
                    if join.keeps_time()[side] && column < batch.rows.num_columns() {
                        let times = batch.rows.column(column).as_primitive::<TimestampNanosecondType>();
                        assert!(times.iter().flatten().all(|time| time > *reached), "{what}: behind {reached}");
                    }
                }
                table.apply(&batch);
            }
            Message::Watermark(Watermark::At(time)) => {
                assert!(time.0 >= *reached, "{what}: the watermark fell");
                *reached = time.0;
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(out.take_dead_letters(), []);
}

fn check_against_batch(kind: JoinKind, keyword: &str, (min, max): (i64, i64), variant: u64) {
    let (with_key, with_filter, early) = (variant & 1 == 0, variant & 2 != 0, variant & 4 != 0);
    let (left, right) = (schema("a int, t time, v int"), schema("b int, u time, w int"));
    let both = schema("a int, t time, v int, b int, u time, w int");
    let config = IntervalJoinConfig {
        kind,
        on: if with_key { vec![(expr("a", &left), expr("b", &right))] } else { Vec::new() },
        filter: with_filter.then(|| expr("v < w", &both)),
        null_equals_null: false,
        times: [TimeOf::Column(1), TimeOf::Column(1)],
        min_ns: min,
        max_ns: max,
        early,
        allowed_lateness_ns: 0,
        left: left.clone(),
        right: right.clone(),
    };
    let spec = IntervalJoin::new(config).expect("a join");
    let key = if with_key { "a = b AND" } else { "" };
    let filter = if with_filter { "AND v < w" } else { "" };
    let sql = format!(
        "SELECT * FROM l {keyword} JOIN r ON {key} CAST(t AS BIGINT) - CAST(u AS BIGINT) BETWEEN {min} AND {max} {filter}"
    );
    for seed in 0..N_CASES {
        let what = format!("{sql}, early {early}, seed {seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let route: &[usize] = if with_key { &[0] } else { &[] };
        let mut operator = restarting(&spec, &[route, route], seed);
        let (mut out, mut table, mut reached) = (Output::default(), Table::default(), i64::MIN);
        let mut there = [Vec::new(), Vec::new()];
        for epoch in 1..=10 {
            let watermark = (epoch - 1) * 4;
            for _ in 0..rng.random_range(0..4) {
                let input = rng.random_range(0..2);
                let rows = rows(&mut rng, watermark, &mut there[input]);
                let rows = batch([&left, &right][input], &rows);
                operator.on_batch(input, rows, &mut out).expect("a good batch");
                take(&mut out, &spec, &mut reached, &mut table, &what);
            }
            let next = if epoch == 10 { i64::MAX } else { watermark + 4 };
            operator.on_watermark(Watermark::At(EventTime(next)), &mut out).expect("a good watermark");
            take(&mut out, &spec, &mut reached, &mut table, &what);
            barrier(&mut operator, 1, &mut out);
        }
        let rows = |schema, rows: &[Vec<Option<String>>]| {
            batch(schema, &rows.iter().map(|row| (1, row.clone())).collect::<Vec<_>>()).rows
        };
        let tables = [("l", rows(&left, &there[0])), ("r", rows(&right, &there[1]))];
        assert_eq!(table, batch_answer(&sql, &tables), "{what}");
        assert_eq!(operator.state_size().rows, 0, "{what}: something is kept");
    }
    report(&sql);
}

#[test]
fn interval_joins_equal_the_batch_answer_and_keep_nothing_in_the_end() {
    let kinds = [
        (JoinKind::Inner, "INNER"),
        (JoinKind::Left, "LEFT"),
        (JoinKind::Right, "RIGHT"),
        (JoinKind::Full, "FULL"),
        (JoinKind::LeftSemi, "LEFT SEMI"),
        (JoinKind::LeftAnti, "LEFT ANTI"),
    ];
    for (kind, keyword) in kinds {
        for (n, bounds) in [(-2, 3), (0, 0), (1, 6), (-9, -3), (5, 4)].into_iter().enumerate() {
            for variant in [n as u64, n as u64 + 3, 7 - n as u64] {
                check_against_batch(kind, keyword, bounds, variant);
            }
        }
    }
}

#[test]
fn state_does_not_grow_with_the_stream() {
    let peak = |n_steps: i64| {
        let (join, inputs) = join(JoinKind::Full, (-50, 50), false);
        let mut operator = join.build(&context()).expect("the operator builds");
        let (mut out, mut peak, mut bytes) = (Output::default(), 0, 0);
        for step in 0..n_steps {
            for (input, schema) in inputs.iter().enumerate() {
                let row = |n: i64| (1, vec![Some((n % 7).to_string()), Some((step * 10 + n).to_string())]);
                let rows: Vec<_> = (0..10).map(row).collect();
                operator.on_batch(input, batch(schema, &rows), &mut out).expect("a good batch");
            }
            peak = peak.max(operator.state_size().rows);
            bytes = bytes.max(operator.state_size().bytes);
            operator.on_watermark(Watermark::At(EventTime(step * 10)), &mut out).expect("a good watermark");
            assert_eq!(out.take_dead_letters(), []);
            out.take_messages();
        }
        (peak, bytes)
    };
    let (short, long) = (peak(50), peak(2_000));
    assert_eq!(short.0, long.0);
    // A table that rows come to and go from has some room to spare, now more, now less.
    assert!(long.1 < 2 * short.1, "{} bytes, then {}", short.1, long.1);
}

#[test]
fn rows_that_are_waited_for_are_not_late() {
    let (join, inputs) = join(JoinKind::Left, (0, 3), false);
    let join = IntervalJoin { config: IntervalJoinConfig { allowed_lateness_ns: 5, ..join.config }, ..join };
    let script = "+ 1 10\nwatermark 14\n#1\n+ 1 10\n\n+ 1 9\n\nwatermark 15\nwatermark 20";
    expect![[r#"
        watermark 9
        + 1 1970-01-01T00:00:00.000000010 1 1970-01-01T00:00:00.000000010
        dead letter late []: the row at 0.000000009 came after the watermark had passed it: {"b":1,"u":"1970-01-01T00:00:00.000000009"}
        watermark 10
        watermark 15
    "#]].assert_eq(&run(&join, &inputs, script));
}
