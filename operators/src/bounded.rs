//! State is bounded by what a query needs: over a stream of any length, windows keep no more than those that are open,
//! and a time to live keeps no more than what was used lately.
//!
//! The joins that time bounds have the same test among their own.

use crate::oracle::aggregate;
use crate::testing::{barrier_at, batch, context, expr, schema};
use crate::{Emit, Join, JoinConfig, JoinKind, Late, Windowing};
use headwater_core::{EventTime, Message, Operator, OperatorSpec, Output, StateSize, Watermark};

/// Ten rows with the times from here on, of keys that all are new every hundred steps.
fn feed(operator: &mut dyn Operator, input: &arrow::datatypes::SchemaRef, step: i64, out: &mut Output) {
    let row = |n: i64| {
        let values = [(step * 10 + n).to_string(), (step / 100 * 10 + n).to_string(), n.to_string()];
        (1, values.map(Some).to_vec())
    };
    operator.on_batch(0, batch(input, &(0..10).map(row).collect::<Vec<_>>()), out).expect("a good batch");
}

fn peak(spec: &dyn OperatorSpec, n_steps: i64) -> StateSize {
    let input = schema("t time, k int, v int");
    let mut operator = spec.build(&context()).expect("the operator builds");
    let (mut out, mut peak) = (Output::default(), StateSize::default());
    for step in 0..n_steps {
        feed(operator.as_mut(), &input, step, &mut out);
        let StateSize { rows, bytes } = operator.state_size();
        peak = StateSize { rows: peak.rows.max(rows), bytes: peak.bytes.max(bytes) };
        operator.on_watermark(Watermark::At(EventTime(step * 10)), &mut out).expect("a good watermark");
        barrier_at(operator.as_mut(), step, &mut out);
        assert_eq!(out.take_dead_letters(), []);
        out.take_messages();
    }
    peak
}

const CALLS: &str = "count(*), sum(v), max(v), avg(v), count(DISTINCT v), array_agg(v ORDER BY v)";

#[test]
fn windows_that_are_closed_are_freed() {
    let input = schema("t time, k int, v int");
    let window = "tumble(t, INTERVAL '70 nanoseconds')";
    let spec = aggregate(&format!("SELECT {window}, k, {CALLS} FROM t GROUP BY {window}, k"), &input);
    for (emit, late) in [
        (Emit::Final, Late::DeadLetter),
        (Emit::Changes, Late::DeadLetter),
        (Emit::Final, Late::Update { allowed_lateness_ns: 100 }),
    ] {
        let spec = spec.clone().windowed(Windowing { column: 0, emit, late }).expect("a window");
        let (short, long) = (peak(&spec, 400), peak(&spec, 2_000));
        assert!(short.rows > 0 && short.bytes > 0);
        assert_eq!(short.rows, long.rows, "{emit:?} {late:?}");
    }
}

#[test]
fn groups_that_nothing_came_for_are_forgotten() {
    let input = schema("t time, k int, v int");
    let spec = aggregate(&format!("SELECT k, {CALLS} FROM t GROUP BY k"), &input);
    let forgetting = spec.clone().forgetting(Some(50));
    assert_eq!(peak(&forgetting, 400).rows, peak(&forgetting, 2_000).rows);
    assert_eq!((peak(&spec, 400).rows, peak(&spec, 2_000).rows), (40, 200));
}

#[test]
fn rows_of_a_join_are_forgotten_and_what_is_shown_stays() {
    let (left, right) = (schema("a int"), schema("b int"));
    let on = vec![(expr("a", &left), expr("b", &right))];
    let (l, r) = (left.clone(), right.clone());
    let config = JoinConfig {
        kind: JoinKind::Left,
        left,
        right,
        on,
        filter: None,
        null_equals_null: false,
        inputs_changing: true,
    };
    let join = Join::new(config).expect("a join").forgetting([None, Some(10)]);
    expect_test::expect!["join left on [a = b], right rows forgotten after 10 nanoseconds"].assert_eq(&join.describe());
    let mut operator = join.build(&context()).expect("the operator builds");
    let mut out = Output::default();
    let one = |schema, diff: i64| batch(schema, &[(diff, vec![Some("1".into())])]);
    operator.on_batch(0, one(&l, 1), &mut out).expect("a good batch");
    operator.on_batch(1, one(&r, 1), &mut out).expect("a good batch");
    for (time, kept) in [(100, 2), (109, 2), (110, 1), (1_000, 1)] {
        out.take_messages();
        barrier_at(operator.as_mut(), time, &mut out);
        assert_eq!((operator.state_size().rows, out.take_messages().len()), (kept, 0));
    }
    // What is taken back takes its pairs with it, forgotten or not.
    operator.on_batch(1, one(&r, -1), &mut out).expect("a good batch");
    let shown: String = out.take_messages().iter().map(printed).collect();
    expect_test::expect![[r#"
        - 1 1
        + 1 _
    "#]]
    .assert_eq(&shown);
}

fn printed(message: &Message) -> String {
    match message {
        Message::Batch(batch) => crate::testing::print(batch),
        other => panic!("no rows: {other:?}"),
    }
}

#[test]
fn a_forgotten_group_begins_anew_and_its_row_stays() {
    let input = schema("t time, k int, v int");
    let spec = aggregate("SELECT k, count(*) FROM t GROUP BY k", &input).over_changes().forgetting(Some(10));
    let mut operator = spec.build(&context()).expect("the operator builds");
    let mut out = Output::default();
    let mut shown = String::new();
    let row = |diff: i64| batch(&input, &[(diff, vec![None, Some("1".into()), None])]);
    for (diff, time) in [(1, 100), (1, 105), (0, 120), (1, 200), (-1, 201), (-1, 202), (1, 203)] {
        if diff != 0 {
            operator.on_batch(0, row(diff), &mut out).expect("a good batch");
        }
        barrier_at(operator.as_mut(), time, &mut out);
        shown.extend(out.take_messages().iter().map(printed));
        shown.push_str(&format!("at {time}: {} kept\n", operator.state_size().rows));
    }
    expect_test::expect![[r#"
        + 1 1
        at 100: 1 kept
        - 1 1
        + 1 2
        at 105: 1 kept
        at 120: 0 kept
        + 1 1
        at 200: 1 kept
        - 1 1
        at 201: 0 kept
        at 202: 0 kept
        + 1 1
        at 203: 1 kept
    "#]]
    .assert_eq(&shown);
}
