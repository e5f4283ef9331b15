//! Restarts of operators that forget, which have no batch answer, and what a snapshot costs.

use super::{report, restarting};
use crate::oracle::Changes;
use crate::testing::{barrier_at, batch, context, expr, schema};
use crate::{
    AsOfJoin, AsOfJoinConfig, Dedup, IntervalJoin, IntervalJoinConfig, Join, JoinConfig, JoinKind, Near, SameTime,
    SetOperation, SetOperationKind, TemporalJoin, TemporalJoinConfig, TimeOf, Upsert,
};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use headwater_core::{EventTime, Operator, OperatorSpec, Output, Watermark};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

const N_CASES: u64 = 60;

fn join(kind: JoinKind, ttl_ns: [Option<i64>; 2], null_equals_null: bool) -> (Join, [SchemaRef; 2]) {
    let (left, right) = (schema("a int, b int"), schema("c int, d int"));
    let inputs = [left.clone(), right.clone()];
    let on = vec![(expr("a", &left), expr("c", &right))];
    let filter = Some(expr("b < 3 OR d < 3", &schema("a int, b int, c int, d int")));
    let config = JoinConfig { kind, left, right, on, filter, null_equals_null, inputs_changing: true };
    (Join::new(config).expect("a join").forgetting(ttl_ns), inputs)
}

fn as_of(near: Near, ttl_ns: Option<i64>) -> (AsOfJoin, [SchemaRef; 2]) {
    let (left, right) = (schema("a int, t int"), schema("b int, u int"));
    let inputs = [left.clone(), right.clone()];
    let on = vec![(expr("a", &left), expr("b", &right))];
    let compared = (expr("t", &left), expr("u", &right));
    let config = AsOfJoinConfig { left, right, on, compared, near, keeps_left: true, ttl_ns };
    (AsOfJoin::new(config).expect("a join"), inputs)
}

fn temporal(same_time: SameTime, ttl_ns: Option<i64>, allowed_lateness_ns: i64) -> (TemporalJoin, [SchemaRef; 2]) {
    let (left, right) = (schema("a int, t time"), schema("b int, u time, w int"));
    let config = TemporalJoinConfig {
        on: vec![(expr("a", &left), expr("b", &right))],
        times: [1, 1],
        at_time_too: true,
        keeps_left: true,
        same_time,
        allowed_lateness_ns,
        ttl_ns,
        left: left.clone(),
        right: right.clone(),
    };
    (TemporalJoin::new(config).expect("a join"), [left, right])
}

fn interval(kind: JoinKind, early: bool) -> (IntervalJoin, [SchemaRef; 2]) {
    let (left, right) = (schema("a int, t time"), schema("b int, u time"));
    let config = IntervalJoinConfig {
        kind,
        on: vec![(expr("a", &left), expr("b", &right))],
        filter: None,
        null_equals_null: true,
        times: [TimeOf::Column(1), TimeOf::Column(1)],
        min_ns: -4,
        max_ns: 3,
        early,
        allowed_lateness_ns: 2,
        left: left.clone(),
        right: right.clone(),
    };
    (IntervalJoin::new(config).expect("a join"), [left, right])
}

/// Changes of two tables and barriers at random times.
fn check_forgetting(spec: &dyn OperatorSpec, inputs: &[SchemaRef; 2], seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut changes = [Changes::new(&inputs[0], true), Changes::new(&inputs[1], true)];
    let mut operator = restarting(spec, &[&[0], &[0]], seed);
    let (mut out, mut now) = (Output::default(), 0);
    for _ in 0..20 {
        for _ in 0..rng.random_range(0..3) {
            let input = rng.random_range(0..2);
            operator.on_batch(input, changes[input].next(&mut rng), &mut out).expect("a good batch");
        }
        now += rng.random_range(0..9);
        barrier_at(&mut operator, now, &mut out);
    }
}

#[test]
fn what_is_to_be_forgotten_is_forgotten_at_the_same_time_after_restarts() {
    let kinds = [JoinKind::Inner, JoinKind::Left, JoinKind::Full, JoinKind::LeftSemi, JoinKind::LeftMark];
    for seed in 0..N_CASES {
        let ttl_ns = [[Some(10), None], [Some(8), Some(15)], [None, Some(3)]][seed as usize % 3];
        let (spec, inputs) = join(kinds[seed as usize % kinds.len()], ttl_ns, seed % 2 == 0);
        check_forgetting(&spec, &inputs, seed);
        let near = [Near::AtOrBefore, Near::Before, Near::AtOrAfter, Near::After][seed as usize % 4];
        let (spec, inputs) = as_of(near, Some(10));
        check_forgetting(&spec, &inputs, seed);
    }
    report("forgetting");
}

/// Rows around the watermark, late ones among them, often the same.
fn around(rng: &mut ChaCha8Rng, schema: &SchemaRef, watermark: i64) -> Vec<(i64, Vec<Option<String>>)> {
    let mut rows = Vec::new();
    for _ in 0..rng.random_range(1..5) {
        let time = (watermark - 4 + rng.random_range(0..14)).to_string();
        let mut row = vec![rng.random_bool(0.9).then(|| rng.random_range(0..3).to_string()), Some(time)];
        row.extend((2..schema.fields().len()).map(|_| Some(rng.random_range(0..2).to_string())));
        let times = rng.random_range(1..3);
        rows.extend(std::iter::repeat_n((1, row), times));
    }
    rows
}

fn check_with_late_rows(spec: &dyn OperatorSpec, inputs: &[SchemaRef; 2], takes_back: bool, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut operator = restarting(spec, &[&[0], &[0]], seed);
    let (mut out, mut there) = (Output::default(), Vec::new());
    for step in 0..20 {
        for _ in 0..rng.random_range(0..4) {
            let input = rng.random_range(0..2);
            let mut rows = around(&mut rng, &inputs[input], step * 3);
            if takes_back && input == 1 {
                there.extend(rows.iter().map(|(_, row)| row.clone()));
                let n_gone = rng.random_range(0..3);
                rows.extend((0..n_gone).map(|_| (-1, there.swap_remove(rng.random_range(0..there.len())))));
                rows.shuffle(&mut rng);
            }
            operator.on_batch(input, batch(&inputs[input], &rows), &mut out).expect("a good batch");
        }
        if rng.random_bool(0.7) {
            operator.on_watermark(Watermark::At(EventTime(step * 3)), &mut out).expect("a good watermark");
        }
        barrier_at(&mut operator, step * 3, &mut out);
    }
    operator.on_watermark(Watermark::At(EventTime::MAX), &mut out).expect("a good watermark");
    barrier_at(&mut operator, 1_000, &mut out);
}

#[test]
fn late_and_repeated_rows_fare_the_same_after_restarts() {
    let kinds =
        [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::LeftSemi, JoinKind::LeftAnti];
    for seed in 0..N_CASES {
        let (spec, inputs) = interval(kinds[seed as usize % kinds.len()], seed % 4 == 0);
        check_with_late_rows(&spec, &inputs, false, seed);
        let same_time = if seed % 2 == 0 { SameTime::First } else { SameTime::Last };
        let (spec, inputs) = temporal(same_time, [None, Some(9)][seed as usize % 3 % 2], seed as i64 % 3);
        check_with_late_rows(&spec, &inputs, seed % 5 > 0, seed);
    }
    report("late rows");
}

/// How many rows and removed keys the next snapshot has.
fn n_changed(operator: &mut dyn Operator) -> usize {
    let tables = operator.snapshot().expect("a snapshot").tables;
    tables.iter().map(|t| t.rows.num_rows() + t.removed.as_ref().map_or(0, RecordBatch::num_rows)).sum()
}

#[test]
fn a_snapshot_has_what_has_changed_and_not_what_is_kept() {
    let key = schema("a int, t time");
    let (join, join_inputs) = join(JoinKind::Full, [Some(1_000), None], false);
    let (as_of, as_of_inputs) = as_of(Near::Before, Some(1_000));
    let (temporal, temporal_inputs) = temporal(SameTime::First, Some(1_000), 0);
    let (interval, interval_inputs) = interval(JoinKind::Left, false);
    let dedup = Dedup::new(key.clone(), vec![0], 1).expect("a key").forgetting(Some(1_000));
    let upsert = Upsert::new(key.clone(), vec![0], key.clone()).expect("a key");
    let both = [key.clone(), key.clone()];
    let except = SetOperation::new(SetOperationKind::ExceptAll, &key, &key, true).expect("a set operation");
    let specs: [(&dyn OperatorSpec, &[SchemaRef]); 7] = [
        (&join, &join_inputs),
        (&as_of, &as_of_inputs),
        (&temporal, &temporal_inputs),
        (&interval, &interval_inputs),
        (&dedup, &both[..1]),
        (&upsert, &both[..1]),
        (&except, &both),
    ];
    for (spec, inputs) in specs {
        let mut operator = spec.build(&context()).expect("it builds");
        let mut out = Output::default();
        let mut feed = |operator: &mut dyn Operator, from: usize, to: usize| {
            for (input, schema) in inputs.iter().enumerate() {
                let row = |n: usize| (1, vec![Some(n.to_string()); schema.fields().len()]);
                let rows: Vec<_> = (from..to).map(row).collect();
                operator.on_batch(input, batch(schema, &rows), &mut out).expect("a good batch");
            }
            barrier_at(operator, 1, &mut out);
        };
        feed(operator.as_mut(), 0, 1_000);
        let first = n_changed(operator.as_mut());
        assert!(first >= 1_000, "{}: {first}", spec.describe());
        feed(operator.as_mut(), 1_000, 1_003);
        let second = n_changed(operator.as_mut());
        assert!((3..=12).contains(&second), "{}: {second}", spec.describe());
        assert_eq!(n_changed(operator.as_mut()), 0, "{}", spec.describe());
    }
}
