//! `INTERSECT ALL` and `EXCEPT ALL` against counts of rows, which is what the standard says they are. DataFusion's own
//! answer is another one.

use super::{Changes, N_CASES, N_EPOCHS, Table, feed};
use crate::restarts::{report, restarting};
use crate::testing::{barrier, schema};
use crate::{SetOperation, SetOperationKind};
use headwater_core::{Batch, Output};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

fn check(kind: SetOperationKind, changing: bool, multiplicity: fn(i64, i64) -> i64) {
    let inputs = [schema("a int, b int"), schema("c int, d int")];
    let spec = SetOperation::new(kind, &inputs[0], &inputs[1], changing).expect("a set operation");
    for seed in 0..N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut changes = [Changes::new(&inputs[0], changing), Changes::new(&inputs[1], changing)];
        let mut operator = restarting(&spec, &[&[0, 1], &[0, 1]], seed);
        let (mut out, mut table) = (Output::default(), Table::default());
        for step in 0..4 * N_EPOCHS {
            let input = rng.random_range(0..2);
            feed(&mut operator, input, changes[input].next(&mut rng), &mut out, &mut table);
            barrier(&mut operator, step, &mut out);
            let counts = [0, 1].map(|side| {
                let mut counts = Table::default();
                counts.apply(&Batch::append_only(changes[side].table()));
                counts
            });
            let mut expected = Table::default();
            for (row, left) in &counts[0].0 {
                let n = multiplicity(*left, counts[1].0.get(row).copied().unwrap_or(0));
                if n > 0 {
                    expected.0.insert(row.clone(), n);
                }
            }
            assert_eq!(table, expected, "{kind:?}, changing {changing}, seed {seed}, step {step}");
        }
    }
    report("set operations");
}

#[test]
fn intersections_have_the_lesser_multiplicity() {
    for changing in [true, false] {
        check(SetOperationKind::IntersectAll, changing, |left, right| left.min(right));
    }
}

#[test]
fn differences_have_the_difference_of_multiplicities() {
    for changing in [true, false] {
        check(SetOperationKind::ExceptAll, changing, |left, right| (left - right).max(0));
    }
}
