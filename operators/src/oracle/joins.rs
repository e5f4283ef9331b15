//! Joins against batch queries, after every batch of changes.

use super::{Changes, N_CASES, N_EPOCHS, Table, batch_answer, collect, feed};
use crate::restarts::{report, restarting};
use crate::testing::{barrier, expr, schema};
use crate::{Join, JoinConfig, JoinKind};
use headwater_core::Output;
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

fn check_join(kind: JoinKind, keyword: &str, with_filter: bool, changing: bool) {
    let filter = if with_filter { "AND b < d" } else { "" };
    let sql = format!("SELECT * FROM l {keyword} JOIN r ON a = c {filter}");
    check(kind, true, with_filter.then_some("b < d"), changing, &sql);
}

/// Joins by `a = c` or by no key.
fn check(kind: JoinKind, by_key: bool, filter: Option<&str>, changing: bool, sql: &str) {
    let (left, right) = (schema("a int, b int"), schema("c int, d int"));
    let on = by_key.then(|| (expr("a", &left), expr("c", &right))).into_iter().collect();
    let filter = filter.map(|filter| expr(filter, &schema("a int, b int, c int, d int")));
    let config = JoinConfig {
        kind,
        left: left.clone(),
        right: right.clone(),
        on,
        filter,
        null_equals_null: false,
        inputs_changing: changing,
    };
    let spec = Join::new(config).expect("a join");
    for seed in 0..N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut changes = [Changes::new(&left, changing), Changes::new(&right, changing)];
        let route: &[usize] = if by_key { &[0] } else { &[] };
        let mut operator = restarting(&spec, &[route, route], seed);
        let (mut out, mut table) = (Output::default(), Table::default());
        for step in 0..2 * N_EPOCHS {
            let input = rng.random_range(0..2);
            feed(&mut operator, input, changes[input].next(&mut rng), &mut out, &mut table);
            barrier(&mut operator, step, &mut out);
            collect(&mut out, &mut table);
            let tables = [("l", changes[0].table()), ("r", changes[1].table())];
            assert_eq!(table, batch_answer(sql, &tables), "{sql}, seed {seed}, step {step}");
        }
    }
    report(sql);
}

#[test]
fn joins_equal_the_batch_answer() {
    let kinds = [
        (JoinKind::Inner, "INNER"),
        (JoinKind::Left, "LEFT"),
        (JoinKind::Right, "RIGHT"),
        (JoinKind::Full, "FULL"),
        (JoinKind::LeftSemi, "LEFT SEMI"),
        (JoinKind::LeftAnti, "LEFT ANTI"),
    ];
    for (kind, keyword) in kinds {
        for with_filter in [false, true] {
            check_join(kind, keyword, with_filter, true);
        }
    }
    for (kind, keyword) in [(JoinKind::Inner, "INNER"), (JoinKind::LeftSemi, "LEFT SEMI")] {
        check_join(kind, keyword, false, false);
        check_join(kind, keyword, true, false);
    }
}

#[test]
fn marks_equal_the_batch_answer() {
    let sql = "SELECT a, b, (SELECT count(*) FROM r WHERE c = a) > 0 FROM l";
    check(JoinKind::LeftMark, true, None, true, sql);
    check(JoinKind::LeftMark, true, None, false, sql);
    let sql = "SELECT a, b, (SELECT count(*) FROM r WHERE c = a AND d > 2) > 0 FROM l";
    check(JoinKind::LeftMark, true, Some("d > 2"), true, sql);
}

#[test]
fn joins_without_a_key_equal_the_batch_answer() {
    check(JoinKind::Inner, false, None, true, "SELECT * FROM l CROSS JOIN r");
    for (kind, keyword) in [
        (JoinKind::Inner, "INNER"),
        (JoinKind::Left, "LEFT"),
        (JoinKind::Right, "RIGHT"),
        (JoinKind::Full, "FULL"),
        (JoinKind::LeftSemi, "LEFT SEMI"),
        (JoinKind::LeftAnti, "LEFT ANTI"),
    ] {
        check(
            kind,
            false,
            Some("b < d OR a = d"),
            true,
            &format!("SELECT * FROM l {keyword} JOIN r ON b < d OR a = d"),
        );
    }
}
