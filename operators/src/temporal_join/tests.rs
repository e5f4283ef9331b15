//! Temporal joins as scripts, against the batch answer, and over long streams.

use super::*;
use crate::oracle::{Table, batch_answer};
use crate::restarts::{report, restarting};
use crate::testing::{barrier_at, batch, context, expr, run, schema};
use expect_test::{Expect, expect};
use headwater_core::{EventTime, Message, Operator, Output, Watermark};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

/// How many cases each join is tried on.
const N_CASES: u64 = 40;

fn join(keeps_left: bool, at_time_too: bool, same_time: SameTime) -> (TemporalJoin, [SchemaRef; 2]) {
    let (left, right) = (schema("a int, t time, v int"), schema("b int, u time, w int"));
    let config = TemporalJoinConfig {
        on: vec![(expr("a", &left), expr("b", &right))],
        times: [1, 1],
        at_time_too,
        keeps_left,
        same_time,
        allowed_lateness_ns: 0,
        ttl_ns: None,
        left: left.clone(),
        right: right.clone(),
    };
    (TemporalJoin::new(config).expect("a join"), [left, right])
}

fn check(keeps_left: bool, script: &str, output: Expect) {
    let (join, inputs) = join(keeps_left, true, SameTime::First);
    output.assert_eq(&run(&join, &inputs, script));
}

#[test]
fn describes_itself() {
    expect!["temporal join left on [a = b], newest u <= t"].assert_eq(&join(true, true, SameTime::First).0.describe());
}

#[test]
fn a_row_waits_for_the_watermark_and_gets_the_version_of_its_time() {
    let script =
        "+ 1 5 0\n+ 1 10 0\n+ 2 10 0\n+ _ 10 0\n\n#1\n+ 1 8 80\n\nwatermark 4\n\n+ 1 5 50\n+ 1 9 90\n\nwatermark 9\n
        watermark 10\nwatermark max";
    check(
        true,
        script,
        expect![[r#"
        + _ 1970-01-01T00:00:00.000000010 0 _ _ _
        watermark 4
        + 1 1970-01-01T00:00:00.000000005 0 1 1970-01-01T00:00:00.000000005 50
        watermark 9
        + 1 1970-01-01T00:00:00.000000010 0 1 1970-01-01T00:00:00.000000009 90
        + 2 1970-01-01T00:00:00.000000010 0 _ _ _
        watermark 10
        watermark 9223372036854775807
    "#]],
    );
    check(
        false,
        script,
        expect![[r#"
        watermark 4
        + 1 1970-01-01T00:00:00.000000005 0 1 1970-01-01T00:00:00.000000005 50
        watermark 9
        + 1 1970-01-01T00:00:00.000000010 0 1 1970-01-01T00:00:00.000000009 90
        watermark 10
        watermark 9223372036854775807
    "#]],
    );
}

#[test]
fn late_rows_are_dead_letters_and_late_versions_count_from_now_on() {
    let script =
        "#1\n+ 1 2 20\n\nwatermark 10\n\n+ 1 3 30\n+ 1 2 21\n+ 1 3 31\n+ 2 9 90\n\n#0\n+ 1 10 0\n+ 1 11 0\n+ 2 11 0\n
        watermark 11";
    check(
        true,
        script,
        expect![[r#"
        watermark 10
        dead letter late []: the version at 0.000000002 came after the watermark had passed it: {"b":1,"u":"1970-01-01T00:00:00.000000002","w":21}
        dead letter late []: the row at 0.000000010 came after the watermark had passed it: {"a":1,"t":"1970-01-01T00:00:00.000000010","v":0}
        + 1 1970-01-01T00:00:00.000000011 0 1 1970-01-01T00:00:00.000000003 30
        + 2 1970-01-01T00:00:00.000000011 0 2 1970-01-01T00:00:00.000000009 90
        watermark 11
    "#]],
    );
}

#[test]
fn a_version_that_is_replaced_ends_and_one_that_is_taken_back_never_was() {
    let script =
        "#1\n+ 1 2 20\n+ 2 2 20\n+ 3 2 20\n+ 3 5 50\n\n- 1 2 20\n- 2 2 20\n- 3 2 20\n+ 1 6 60\n\nbarrier\n\n#0\n
        + 1 4 0\n+ 1 7 0\n+ 2 7 0\n+ 3 4 0\n+ 3 7 0\n\nwatermark 9";
    check(
        true,
        script,
        expect![[r#"
        barrier
        + 1 1970-01-01T00:00:00.000000004 0 1 1970-01-01T00:00:00.000000002 20
        + 3 1970-01-01T00:00:00.000000004 0 _ _ _
        + 1 1970-01-01T00:00:00.000000007 0 1 1970-01-01T00:00:00.000000006 60
        + 2 1970-01-01T00:00:00.000000007 0 _ _ _
        + 3 1970-01-01T00:00:00.000000007 0 3 1970-01-01T00:00:00.000000005 50
        watermark 9
    "#]],
    );
}

/// Random rows that are never behind the watermark. Versions differ in key or time, or else one of them repeats another.
fn rows(rng: &mut ChaCha8Rng, input: usize, watermark: i64, there: &mut Vec<Vec<Option<String>>>) -> Vec<usize> {
    let mut new = Vec::new();
    for _ in 0..rng.random_range(1..6) {
        let value = |rng: &mut ChaCha8Rng, n: i64| rng.random_bool(0.9).then(|| rng.random_range(0..n).to_string());
        let time = rng.random_bool(0.95).then(|| (watermark + 1 + rng.random_range(0..9)).to_string());
        let row = vec![value(rng, 3), time, value(rng, 6)];
        let is_other = |other: &Vec<Option<String>>| other[..2] != row[..2];
        if input == 0 || there.iter().all(is_other) {
            there.push(row);
            new.push(there.len() - 1);
        }
    }
    new
}

fn check_against_batch(keeps_left: bool, at_time_too: bool) {
    let (spec, inputs) = join(keeps_left, at_time_too, SameTime::First);
    let (kind, op) = (if keeps_left { "LEFT" } else { "INNER" }, if at_time_too { "<=" } else { "<" });
    let sql = format!(
        "WITH n AS (SELECT *, row_number() OVER (ORDER BY a, t, v) AS id FROM l),
         p AS (SELECT n.id, b, u, w, row_number() OVER (PARTITION BY n.id ORDER BY u DESC) AS place
               FROM n JOIN r ON n.a = r.b AND r.u {op} n.t)
         SELECT n.a, n.t, n.v, p.b, p.u, p.w FROM n {kind} JOIN p ON n.id = p.id AND p.place = 1"
    );
    for seed in 0..N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut operator = restarting(&spec, &[&[0], &[0]], seed);
        let (mut out, mut table, mut reached) = (Output::default(), Table::default(), i64::MIN);
        let mut there = [Vec::new(), Vec::new()];
        for epoch in 1..=10 {
            let watermark = (epoch - 1) * 4;
            for _ in 0..rng.random_range(0..4) {
                let input = rng.random_range(0..2);
                let new = rows(&mut rng, input, watermark, &mut there[input]);
                let new: Vec<_> = new.into_iter().map(|row| (1, there[input][row].clone())).collect();
                operator.on_batch(input, batch(&inputs[input], &new), &mut out).expect("a good batch");
            }
            let next = if epoch == 10 { i64::MAX } else { watermark + 4 };
            operator.on_watermark(Watermark::At(EventTime(next)), &mut out).expect("a good watermark");
            barrier_at(&mut operator, epoch, &mut out);
            assert_eq!(out.take_dead_letters(), []);
            for message in out.take_messages() {
                match message {
                    Message::Batch(batch) => {
                        assert!(batch.diffs.is_none(), "{sql}, seed {seed}: the output changes");
                        table.apply(&batch);
                    }
                    Message::Watermark(Watermark::At(time)) => reached = reached.max(time.0),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(reached, next);
        }
        let rows = |input: usize| {
            let rows: Vec<_> = there[input].iter().map(|row| (1, row.clone())).collect();
            batch(&inputs[input], &rows).rows
        };
        assert_eq!(table, batch_answer(&sql, &[("l", rows(0)), ("r", rows(1))]), "{sql}, seed {seed}");
        assert!(operator.state_size().rows <= 3, "one version of each key is kept");
    }
    report(&sql);
}

#[test]
fn temporal_joins_equal_the_batch_answer() {
    for keeps_left in [false, true] {
        for at_time_too in [false, true] {
            check_against_batch(keeps_left, at_time_too);
        }
    }
}

#[test]
fn state_does_not_grow_with_the_stream() {
    let peak = |n_steps: i64| {
        let (spec, inputs) = join(true, true, SameTime::First);
        let mut operator = spec.build(&context()).expect("the operator builds");
        let (mut out, mut rows, mut bytes) = (Output::default(), 0, 0);
        for step in 0..n_steps {
            for (input, schema) in inputs.iter().enumerate() {
                let row = |n: i64| vec![(n % 7).to_string(), (step * 10 + n).to_string(), "1".to_owned()];
                let new: Vec<_> = (0..10).map(|n| (1, row(n).into_iter().map(Some).collect())).collect();
                operator.on_batch(input, batch(schema, &new), &mut out).expect("a good batch");
            }
            rows = rows.max(operator.state_size().rows);
            bytes = bytes.max(operator.state_size().bytes);
            operator.on_watermark(Watermark::At(EventTime(step * 10)), &mut out).expect("a good watermark");
            assert_eq!(out.take_dead_letters(), []);
            out.take_messages();
        }
        (rows, bytes)
    };
    let (short, long) = (peak(50), peak(2_000));
    assert_eq!(short.0, long.0);
    // A table that rows come to and go from has some room to spare, now more, now less.
    assert!(long.1 < 2 * short.1, "{} bytes, then {}", short.1, long.1);
}

#[test]
fn a_key_without_new_versions_is_forgotten_after_its_time() {
    let (spec, inputs) = join(true, true, SameTime::First);
    let spec = TemporalJoin { config: TemporalJoinConfig { ttl_ns: Some(10), ..spec.config }, ..spec };
    let mut operator = spec.build(&context()).expect("the operator builds");
    let mut out = Output::default();
    let version = batch(&inputs[1], &[(1, vec![Some("1".into()), Some("5".into()), None])]);
    operator.on_batch(1, version, &mut out).expect("a good batch");
    barrier_at(operator.as_mut(), 100, &mut out);
    assert_eq!(operator.state_size().rows, 1);
    barrier_at(operator.as_mut(), 110, &mut out);
    assert_eq!(operator.state_size().rows, 0);
}
