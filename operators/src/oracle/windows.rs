//! Windows against batch queries, once every window has closed.

use super::{N_CASES, Table, aggregate, batch_answer, collect, feed};
use crate::restarts::{report, restarting};
use crate::testing::{barrier, batch};
use crate::{Emit, Late, Windowing};
use headwater_core::{EventTime, Operator, Output, Watermark};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

/// Feeds rows out of order, but never behind the watermark; once the input has ended, what is shown is the answer.
fn check_windows(emit: Emit, late: Late, changing: bool) {
    let schema = crate::testing::schema("t time, v int");
    let window = "tumble(t, INTERVAL '7 nanoseconds')";
    let sql = format!("SELECT {window}, v % 2, count(*), max(v), sum(v) FROM t GROUP BY {window}, v % 2");
    let spec = aggregate(&sql, &schema).windowed(Windowing { column: 0, emit, late }).expect("a window");
    let spec = if changing { spec.over_changes() } else { spec };
    for seed in 0..N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut operator = restarting(&spec, &[&[]], seed);
        let (mut out, mut table) = (Output::default(), Table::default());
        let mut there: Vec<Vec<Option<String>>> = Vec::new();
        for epoch in 1..=8 {
            let watermark = epoch * 5;
            for _ in 0..rng.random_range(0..4) {
                let mut rows = Vec::new();
                for _ in 0..rng.random_range(1..5) {
                    if changing && !there.is_empty() && rng.random_bool(0.3) {
                        rows.push((-1, there.swap_remove(rng.random_range(0..there.len()))));
                    } else {
                        let time = watermark - 4 + rng.random_range(0..20);
                        let row = vec![Some(time.to_string()), Some(rng.random_range(0..9).to_string())];
                        there.push(row.clone());
                        rows.push((1, row));
                    }
                }
                feed(&mut operator, 0, batch(&schema, &rows), &mut out, &mut table);
            }
            let watermark = Watermark::At(EventTime(if epoch == 8 { i64::MAX } else { watermark }));
            operator.on_watermark(watermark, &mut out).expect("a good watermark");
            collect(&mut out, &mut table);
            barrier(&mut operator, epoch as u64, &mut out);
            collect(&mut out, &mut table);
        }
        let rows: Vec<_> = there.into_iter().map(|row| (1, row)).collect();
        assert_eq!(table, batch_answer(&sql, &[("t", batch(&schema, &rows).rows)]), "{emit:?}, {late:?}, seed {seed}");
    }
    report("windows");
}

#[test]
fn windows_equal_the_batch_answer_when_no_row_is_late() {
    let long = Late::Update { allowed_lateness_ns: 1_000 };
    for emit in [Emit::Final, Emit::Changes] {
        check_windows(emit, Late::DeadLetter, false);
        check_windows(emit, long, false);
        check_windows(emit, long, true);
    }
}
