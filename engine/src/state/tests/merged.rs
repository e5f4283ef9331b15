//! Whatever is written, removed, merged and moved to another parallelism: what is restored is what a model says.

use super::fixtures::{Key, Model, Row, Table, group_of, key_of};
use crate::state::{merge_parts, worth_merging};
use headwater_core::{Route, subtask_of};
use proptest::prelude::*;

/// One thing that happens to a table.
#[derive(Debug, Clone)]
enum Step {
    /// A checkpoint: the present values of some keys of some subtasks; no value removes the key.
    Change(Vec<(Key, u8, usize)>),
    /// Neighbours are merged.
    Merge(prop::sample::Index, usize),
    /// What is worth it is merged.
    MergeWorth,
    /// The pipeline goes on with another parallelism.
    Restart(usize),
}

fn key() -> impl Strategy<Value = Key> {
    let number = prop_oneof![
        Just(None),
        Just(Some(0.0_f64)),
        Just(Some(-0.0_f64)),
        Just(Some(f64::NAN)),
        (0..6_i32).prop_map(|n| Some(f64::from(n))),
    ];
    (prop::option::of("[a-d]{0,2}"), number.prop_map(|number| number.map(f64::to_bits)))
}

fn step() -> impl Strategy<Value = Step> {
    let change = (key(), 0..4_u8, 0..8_usize);
    prop_oneof![
        6 => prop::collection::vec(change, 0..30).prop_map(Step::Change),
        2 => (any::<prop::sample::Index>(), 2..6_usize).prop_map(|(from, n)| Step::Merge(from, n)),
        1 => Just(Step::MergeWorth),
        2 => prop_oneof![Just(1_usize), Just(2), Just(3), Just(4), Just(5), Just(8), Just(256)].prop_map(Step::Restart),
    ]
}

/// What each subtask keeps.
struct World {
    table: Table,
    subtasks: Vec<Model>,
    /// The same at the end of the last run that wrote anything: one that did not has left no trace.
    written: Vec<Model>,
    next: i64,
}

impl World {
    fn new(route: Route) -> Self {
        let subtasks = vec![Model::new()];
        Self { table: Table::new(route), written: subtasks.clone(), subtasks, next: 0 }
    }

    fn keyed(&self) -> bool {
        matches!(self.table.state.route, Route::Key(_))
    }

    fn home(&self, key: &Key, wish: usize) -> usize {
        let parallelism = self.subtasks.len();
        if self.keyed() { subtask_of(group_of(key), parallelism) } else { wish % parallelism }
    }

    fn change(&mut self, changes: Vec<(Key, u8, usize)>) {
        let parallelism = self.subtasks.len();
        let mut changed = vec![Model::new(); parallelism];
        for ((text, number), n_rows, wish) in changes {
            let key = key_of(&(text.clone(), number, 0));
            let home = self.home(&key, wish);
            let row = |n| (text.clone(), number, self.next + i64::from(n));
            let rows: Vec<Row> = (0..n_rows).map(row).collect();
            self.next += i64::from(n_rows);
            changed[home].insert(key.clone(), rows.clone());
            self.subtasks[home].insert(key, rows);
        }
        for (subtask, changed) in changed.iter().enumerate() {
            self.table.snapshot(changed, (subtask, parallelism));
        }
        if changed.iter().any(|changed| !changed.is_empty()) {
            self.written = self.subtasks.clone();
        }
    }

    fn merge(&mut self, range: std::ops::Range<usize>) {
        let old = self.table.state.parts[range.clone()].to_vec();
        let one = old.iter().all(|part| part.subtask == old[0].subtask);
        if old.len() < 2 || !(one || self.keyed()) {
            return;
        }
        let files = self.table.parts()[range.clone()].to_vec();
        let merged = merge_parts(&self.table.state, &files, range.start > 0).unwrap();
        let part = self.table.part(merged, if one { old[0].subtask } else { (0, 1) });
        assert!(self.table.state.replace(&old, part));
    }

    fn restart(&mut self, parallelism: usize) {
        let former = self.written.clone();
        self.subtasks = vec![Model::new(); parallelism];
        for (subtask, model) in former.into_iter().enumerate() {
            for (key, rows) in model {
                let home = if self.keyed() { self.home(&key, 0) } else { subtask % parallelism };
                self.subtasks[home].entry(key).or_default().extend(rows);
            }
        }
    }

    fn check(&self) {
        let parallelism = self.subtasks.len();
        for (subtask, model) in self.subtasks.iter().enumerate().take(9) {
            let mut expected: Vec<Row> = model.values().flatten().cloned().collect();
            expected.sort();
            assert_eq!(self.table.restored(subtask, parallelism), expected, "subtask {subtask} of {parallelism}");
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Change(changes) => self.change(changes),
            Step::Merge(from, n) if !self.table.state.parts.is_empty() => {
                let n_parts = self.table.state.parts.len();
                let from = from.index(n_parts);
                self.merge(from..(from + n).min(n_parts));
            }
            Step::Merge(..) => {}
            Step::MergeWorth => {
                if let Some(range) = worth_merging(&self.table.state) {
                    self.merge(range);
                }
            }
            Step::Restart(parallelism) => self.restart(parallelism),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_table_by_key_is_what_a_model_says(steps in prop::collection::vec(step(), 1..14), after in 1..9_usize) {
        let mut world = World::new(Route::Key(vec![1, 2]));
        for step in steps {
            world.step(step);
        }
        world.check();
        world.restart(after);
        world.check();
    }

    #[test]
    fn a_table_for_anyone_is_what_a_model_says(steps in prop::collection::vec(step(), 1..14), after in 1..9_usize) {
        let mut world = World::new(Route::Anyone);
        for step in steps {
            world.step(step);
        }
        world.check();
        world.restart(after);
        world.check();
    }
}

fn rows(keys: std::ops::Range<i64>, value: i64) -> Model {
    let row = |n: i64| (Some(format!("key {n}")), None, value);
    keys.map(|n| (key_of(&row(n)), vec![row(n)])).collect()
}

#[test]
fn many_rows_are_cut_into_batches_and_found_again() {
    let mut world = World::new(Route::Key(vec![1, 2]));
    world.subtasks = vec![Model::new()];
    world.table.snapshot(&rows(0..80_000, 1), (0, 1));
    world.table.snapshot(&rows(50_000..60_000, 2), (0, 1));
    for parallelism in [1, 3] {
        let all: Vec<Row> = (0..parallelism).flat_map(|subtask| world.table.restored(subtask, parallelism)).collect();
        assert_eq!(all.len(), 80_000);
        assert_eq!(all.iter().filter(|row| row.2 == 2).count(), 10_000);
    }
    world.merge(0..2);
    assert_eq!(world.table.state.parts[0].rows, 80_000);
    assert_eq!(world.table.restored(0, 1).iter().filter(|row| row.2 == 2).count(), 10_000);
}

#[test]
fn the_last_table_for_everyone_of_each_subtask_counts_and_goes_to_all() {
    let mut table = Table::new(Route::Everyone);
    for (value, subtask) in [(1, 0), (2, 1), (3, 0)] {
        table.snapshot(&rows(0..1, value), (subtask, 2));
    }
    let values = |table: &Table, parallelism| {
        let all: Vec<Vec<i64>> = (0..parallelism)
            .map(|subtask| table.restored(subtask, parallelism).iter().map(|r| r.2).collect())
            .collect();
        assert!(all.iter().all(|one| *one == all[0]));
        all[0].clone()
    };
    assert_eq!(values(&table, 3), [2, 3]);
    assert_eq!(table.state.parts.len(), 2);
    // Of another run, all subtasks have to have written before the former ones are forgotten.
    table.snapshot(&rows(0..1, 4), (2, 3));
    table.snapshot(&rows(0..1, 5), (0, 3));
    assert_eq!(values(&table, 1), [2, 3, 4, 5]);
    table.snapshot(&Model::new(), (1, 3));
    assert_eq!(values(&table, 1), [4, 5]);
    assert_eq!(table.state.parts.len(), 3);
}

#[test]
fn a_table_without_a_key_is_replaced_whole() {
    let mut table = Table::new(Route::Key(Vec::new()));
    table.state.key = Vec::new();
    let write = |table: &mut Table, model: &Model| {
        let mut changes = super::fixtures::changes(&Route::Key(Vec::new()), model);
        changes.key = Vec::new();
        let part = crate::state::encode(&changes).unwrap().unwrap();
        let part = table.part(part, (0, 1));
        table.state.add(part);
    };
    write(&mut table, &rows(0..3, 1));
    write(&mut table, &rows(1..3, 2));
    assert_eq!(table.restored(0, 1).iter().map(|row| row.2).collect::<Vec<_>>(), [2, 2]);
    assert!(table.restored(1, 2).is_empty());
}

#[test]
fn merging_is_worth_it_for_neighbours_of_like_size_and_each_row_is_written_a_few_times() {
    let part = |bytes: u64, at: u64| crate::state::Part {
        file: at.to_string(),
        bytes,
        rows: 1,
        removed: 0,
        checksum: String::new(),
        subtask: (0, 1),
    };
    let mut state = Table::new(Route::Key(vec![1, 2])).state;
    let (mut written, n) = (0, 20_000_u64);
    for at in 0..n {
        state.parts.push(part(10_000, at));
        if let Some(range) = worth_merging(&state) {
            let old = state.parts[range].to_vec();
            let bytes = old.iter().map(|part| part.bytes).sum();
            written += bytes;
            assert!(state.replace(&old, part(bytes, n + at)));
        }
        assert!(state.parts.len() <= 24, "{} parts", state.parts.len());
    }
    let times = written as f64 / (n as f64 * 10_000.0);
    assert!(times < 8.0, "each byte is written {times} times more");
}
