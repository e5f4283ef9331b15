//! As-of joins as scripts and against the batch answer.

use super::*;
use crate::oracle::{Changes, Table, batch_answer, collect};
use crate::restarts::{report, restarting};
use crate::testing::{barrier, barrier_at, context, expr, run, schema};
use expect_test::expect;
use headwater_core::{Operator, Output};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

/// How many cases each join is tried on.
const N_CASES: u64 = 12;

fn join(near: Near, keeps_left: bool, with_key: bool, ttl_ns: Option<i64>) -> (AsOfJoin, [SchemaRef; 2]) {
    let (left, right) = (schema("a int, t int, v int"), schema("b int, u int, w int"));
    let on = if with_key { vec![(expr("a", &left), expr("b", &right))] } else { Vec::new() };
    let compared = (expr("t", &left), expr("u", &right));
    let inputs = [left.clone(), right.clone()];
    let config = AsOfJoinConfig { left, right, on, compared, near, keeps_left, ttl_ns };
    (AsOfJoin::new(config).expect("a join"), inputs)
}

#[test]
fn describes_itself() {
    let join = join(Near::Before, true, true, Some(86_400_000_000_000)).0;
    expect!["as-of join left on [a = b], nearest t > u, forgotten after 1 day"].assert_eq(&join.describe());
}

#[test]
fn a_nearer_row_takes_the_place_of_another_and_gives_it_back() {
    let (join, inputs) = join(Near::AtOrBefore, true, true, None);
    let script = "+ 1 5 0\n+ 1 9 0\n\n#1\n+ 1 4 40\n\n+ 1 6 60\n+ 1 6 61\n\n- 1 6 61\n\n- 1 6 60\n\n#0\n- 1 9 0";
    expect![[r#"
        + 1 5 0 _ _ _
        + 1 9 0 _ _ _
        - 1 5 0 _ _ _
        - 1 9 0 _ _ _
        + 1 5 0 1 4 40
        + 1 9 0 1 4 40
        - 1 9 0 1 4 40
        + 1 9 0 1 6 61
        - 1 9 0 1 6 61
        + 1 9 0 1 6 60
        - 1 9 0 1 6 60
        + 1 9 0 1 4 40
        - 1 9 0 1 4 40
    "#]]
    .assert_eq(&run(&join, &inputs, script));
}

/// The batch answer: of the right rows that are on the right side of a left row, the nearest and last.
fn sql(near: Near, keeps_left: bool, with_key: bool) -> String {
    let kind = if keeps_left { "LEFT" } else { "INNER" };
    let key = if with_key { "l.a = r.b AND" } else { "" };
    let order = if matches!(near, Near::AtOrBefore | Near::Before) { "DESC" } else { "ASC" };
    format!(
        "WITH n AS (SELECT *, row_number() OVER (ORDER BY a, t, v) AS id FROM l),
         p AS (SELECT n.id, b, u, w, row_number() OVER (PARTITION BY id
               ORDER BY u {order}, b DESC NULLS LAST, w DESC NULLS LAST) AS place
               FROM n AS l JOIN r ON {key} l.t {op} r.u)
         SELECT n.a, n.t, n.v, p.b, p.u, p.w FROM n {kind} JOIN p ON n.id = p.id AND p.place = 1",
        op = near.op(),
    )
    .replace("SELECT n.id, b", "SELECT l.id, b")
}

#[test]
fn as_of_joins_equal_the_batch_answer_over_changes() {
    for near in [Near::AtOrBefore, Near::Before, Near::AtOrAfter, Near::After] {
        for variant in 0..4 {
            let (keeps_left, with_key) = (variant & 1 == 0, variant & 2 == 0);
            let (spec, [left, right]) = join(near, keeps_left, with_key, None);
            let sql = sql(near, keeps_left, with_key);
            for seed in 0..N_CASES {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let mut changes = [Changes::new(&left, true), Changes::new(&right, true)];
                let route: &[usize] = if with_key { &[0] } else { &[] };
                let mut operator = restarting(&spec, &[route, route], seed);
                let (mut out, mut table) = (Output::default(), Table::default());
                for step in 0..8 {
                    let input = rng.random_range(0..2);
                    operator.on_batch(input, changes[input].next(&mut rng), &mut out).expect("a good batch");
                    barrier(&mut operator, step, &mut out);
                    collect(&mut out, &mut table);
                    let tables = [("l", changes[0].table()), ("r", changes[1].table())];
                    assert_eq!(table, batch_answer(&sql, &tables), "{sql}, seed {seed}, step {step}");
                }
            }
        }
    }
    report("as-of joins");
}

#[test]
fn a_key_is_forgotten_and_what_was_shown_stays() {
    let (join, inputs) = join(Near::AtOrBefore, true, true, Some(10));
    let mut operator = join.build(&context()).expect("the operator builds");
    let (mut out, mut table) = (Output::default(), Table::default());
    let rows = |input: usize, text: &[&str]| {
        let row = text.iter().map(|value| Some((*value).to_owned())).collect();
        crate::testing::batch(&inputs[input], &[(1, row)])
    };
    operator.on_batch(1, rows(1, &["1", "4", "40"]), &mut out).expect("a good batch");
    operator.on_batch(0, rows(0, &["1", "5", "0"]), &mut out).expect("a good batch");
    barrier_at(operator.as_mut(), 100, &mut out);
    assert_eq!(operator.state_size().rows, 2);
    barrier_at(operator.as_mut(), 110, &mut out);
    assert_eq!(operator.state_size().rows, 0);
    operator.on_batch(0, rows(0, &["1", "6", "0"]), &mut out).expect("a good batch");
    collect(&mut out, &mut table);
    expect![[r#"
        + 1 5 0 1 4 40
        + 1 6 0 _ _ _
    "#]]
    .assert_eq(&table.0.into_keys().collect::<String>());
}
