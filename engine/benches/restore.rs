//! How long it takes to restore a gigabyte of state such as `dedup` keeps: an id of 36 letters, a version, and what was
//! seen of the row.
//!
//! `cargo bench -p headwater-engine --bench restore`; HEADWATER_STATE_ROWS sets the number of rows (default 8 million, of
//! which each has 125 bytes in memory). It writes to a temporary folder, so what it reads is in the page cache.

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use headwater_core::{Epoch, Error, Result, Route, StateTable};
use headwater_engine::state::{PartName, StateStore, TableState, encode, restore_table};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows that are written at once, as by the first checkpoint of a backfill.
const ROWS_OF_A_PART: u64 = 1_000_000;

/// A number that looks like chance: ids are not in any order.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    let n = (n ^ (n >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d);
    n ^ (n >> 33)
}

fn table(ids: impl Iterator<Item = u64> + Clone, version: i64) -> Result<StateTable> {
    let id = |n: u64| format!("{:016x}-{:019}", mixed(n), mixed(n + 1) >> 1);
    let names: StringArray = ids.clone().map(|n| Some(id(n))).collect();
    let versions = Int64Array::from_iter_values(ids.clone().map(|_| version));
    let payload = |n: u64| format!("{{\"company\":\"company {}\",\"hours\":{},\"session\":{n}}}", n % 500, n % 9);
    let payloads: StringArray = ids.map(|n| Some(payload(n) + &format!("{:x}", mixed(n * 7)))).collect();
    let fields = vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("version", DataType::Int64, false),
        Field::new("row", DataType::Utf8, false),
    ];
    let columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(names), Arc::new(versions), Arc::new(payloads)];
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    Ok(StateTable { name: "seen", key: vec![0], route: Route::Key(vec![0]), rows, removed: None })
}

async fn add(store: &StateStore, state: &mut TableState, changes: StateTable, spent: &mut Duration) -> Result<u64> {
    let bytes = changes.rows.get_array_memory_size() as u64;
    let begun = Instant::now();
    let encoded = encode(&changes)?.ok_or_else(|| Error::internal("there are rows"))?;
    let name = PartName { epoch: Epoch(1), operator: "bench", subtask: (0, 1), table: "seen" };
    state.add(store.write_part(&name, encoded).await?);
    *spent += begun.elapsed();
    Ok(bytes)
}

fn per_second(bytes: u64, spent: Duration) -> f64 {
    bytes as f64 / 1e6 / spent.as_secs_f64()
}

/// Restores with some subtasks, each on a thread, as the engine does; returns the rows of each.
async fn restore(store: &StateStore, state: &TableState, parallelism: usize, keep: bool) -> Result<Vec<usize>> {
    let files = Arc::new(store.read_parts(state).await?);
    let subtask = |subtask| {
        let (files, state) = (files.clone(), state.clone());
        tokio::task::spawn_blocking(move || {
            let (mut kept, mut n_rows) = (HashSet::new(), 0);
            restore_table(&state, &files, subtask, parallelism, |rows| {
                n_rows += rows.num_rows();
                let ids = rows.column(0).as_any().downcast_ref::<StringArray>().filter(|_| keep);
                kept.extend(ids.into_iter().flatten().flatten().map(str::to_owned));
                Ok(())
            })?;
            Ok::<_, Error>(n_rows.max(kept.len()))
        })
    };
    let tasks: Vec<_> = (0..parallelism).map(subtask).collect();
    let mut rows = Vec::new();
    for task in tasks {
        rows.push(task.await.map_err(|e| Error::internal(e.to_string()))??);
    }
    Ok(rows)
}

async fn measure() -> Result<()> {
    let n_rows: u64 = std::env::var("HEADWATER_STATE_ROWS").ok().and_then(|n| n.parse().ok()).unwrap_or(8_000_000);
    let folder = tempfile::tempdir().map_err(|e| Error::io("a temporary folder", e))?;
    let store = StateStore::at(&folder.path().display().to_string(), "bench")?;
    let mut state = TableState { name: "seen".to_owned(), key: vec![0], route: Route::Key(vec![0]), parts: Vec::new() };
    let (mut bytes, mut spent) = (0, Duration::ZERO);
    for from in (0..n_rows).step_by(ROWS_OF_A_PART as usize) {
        bytes += add(&store, &mut state, table(from..(from + ROWS_OF_A_PART).min(n_rows), 1)?, &mut spent).await?;
    }
    println!(
        "state: {n_rows} rows, {:.0} MB in memory, {:.0} MB in {} parts",
        bytes as f64 / 1e6,
        state.bytes() as f64 / 1e6,
        state.parts.len()
    );
    println!("encode and write: {spent:.1?}, {:.0} MB/s", per_second(bytes, spent));
    let begun = Instant::now();
    let old = state.parts.clone();
    let merged = store.merge(Epoch(2), "bench", &state, 0..old.len()).await?;
    let spent = begun.elapsed();
    println!("merge {} parts: {spent:.1?}, {:.0} MB/s", old.len(), per_second(bytes, spent));
    let apart = state.clone();
    state.replace(&old, merged);
    let mut updated = state.clone();
    for (version, n) in [(2, n_rows / 16), (3, n_rows / 64), (4, n_rows / 256)] {
        add(&store, &mut updated, table((0..n).map(|n| n * 13 % n_rows), version)?, &mut Duration::default()).await?;
    }
    for (what, state) in [("one part", &state), ("eight parts", &apart), ("one part and three of updates", &updated)] {
        for (parallelism, keep) in [(1, false), (2, false), (2, true)] {
            let begun = Instant::now();
            let rows = restore(&store, state, parallelism, keep).await?;
            let spent = begun.elapsed();
            let how = if keep { ", ids put into a set" } else { "" };
            println!(
                "restore {what}, parallelism {parallelism}{how}: {spent:.2?}, {:.0} MB/s, rows {rows:?}",
                per_second(bytes, spent)
            );
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|e| Error::io("a runtime", e))?.block_on(measure())
}
