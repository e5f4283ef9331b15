//! Kills sinks at every step of an epoch, starts them again as the engine does, and looks at what is left: every row
//! once. Tests only.

use crate::sqlite::tests::{batch, context, schema};
use headwater_core::{Connector, Epoch, Prepared, Sink, SinkSpec, TableDefinition, TaskContext};
use std::path::Path;
use std::sync::Arc;

/// How many epochs a script has, and which one has no row. The process dies in any but the last.
const EPOCHS: u64 = 4;
const EMPTY: u64 = 2;

/// Where the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Rows are written, nothing is prepared.
    Written,
    /// The sink has prepared, no manifest says so.
    Prepared,
    /// The manifest is there, the sink knows nothing of it.
    Manifest,
    /// Some of the commit has happened.
    Torn,
    /// The commit has happened, nobody has heard of it.
    Committed,
}

const STEPS: [Step; 5] = [Step::Written, Step::Prepared, Step::Manifest, Step::Torn, Step::Committed];

/// A kind of sink, what can be seen of it, and how a commit of it can break off.
struct Case {
    connector: Box<dyn Connector>,
    options: &'static [(&'static str, &'static str)],
    seen: fn(&Path) -> Vec<String>,
    tear: fn(&Path, &Prepared),
}

impl Case {
    fn spec(&self, dir: &Path) -> Arc<dyn SinkSpec> {
        let table = TableDefinition {
            name: "t".into(),
            schema: Some(schema()),
            primary_key: Vec::new(),
            options: self.options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            base: dir.to_owned(),
        };
        self.connector.sink(&table).expect("fits")
    }
}

fn rows(epoch: u64) -> Vec<(i64, Option<&'static str>, i64)> {
    let first = i64::try_from(epoch).expect("is small") * 10;
    if epoch == EMPTY {
        Vec::new()
    } else {
        vec![(first, Some("a"), 1), (first + 1, Some("b"), 1), (first + 2, Some("a"), 1)]
    }
}

fn expected() -> Vec<String> {
    let rows = (1..=EPOCHS).flat_map(rows);
    let mut rows: Vec<String> = rows.map(|(id, name, _)| format!("{id} {}", name.expect("has one"))).collect();
    rows.sort();
    rows
}

fn restored(epoch: Option<Epoch>) -> TaskContext {
    context().with_restored(epoch)
}

/// Opens a sink after a crash, and commits again what the manifest says.
async fn start(spec: &dyn SinkSpec, manifest: Option<&(Epoch, Prepared)>) -> Box<dyn Sink> {
    let mut sink = spec.open(&restored(manifest.map(|(epoch, _)| *epoch))).await.expect("opens");
    if let Some((epoch, prepared)) = manifest {
        sink.commit(*epoch, prepared).await.expect("commits again");
    }
    sink
}

/// Runs the script, killed `n_crashes` times at a step of an epoch.
async fn run(case: &Case, dir: &Path, at: u64, step: Step, n_crashes: usize) {
    let spec = case.spec(dir);
    let mut manifest: Option<(Epoch, Prepared)> = None;
    let mut n_left = n_crashes;
    let mut sink = start(spec.as_ref(), None).await;
    let mut epoch = 1;
    while epoch <= EPOCHS {
        let mut died = false;
        for now in STEPS {
            match now {
                Step::Written if rows(epoch).is_empty() => {}
                Step::Written => sink.write(batch(&rows(epoch))).await.expect("writes"),
                Step::Prepared => {
                    let prepared = sink.prepare(Epoch(epoch)).await.expect("prepares");
                    if (epoch, step, n_left > 0) != (at, Step::Prepared, true) {
                        manifest = Some((Epoch(epoch), prepared));
                    }
                }
                Step::Manifest => {}
                Step::Torn if (epoch, step, n_left > 0) == (at, Step::Torn, true) => {
                    (case.tear)(dir, &manifest.as_ref().expect("was written").1);
                }
                Step::Torn => {}
                Step::Committed => {
                    sink.commit(Epoch(epoch), &manifest.as_ref().expect("was written").1).await.expect("commits");
                }
            }
            if (epoch, now, n_left > 0) == (at, step, true) {
                died = true;
                break;
            }
        }
        epoch += 1;
        if died {
            n_left -= 1;
            // A process that is killed closes and removes nothing.
            std::mem::forget(std::mem::replace(&mut sink, start(spec.as_ref(), manifest.as_ref()).await));
            epoch = manifest.as_ref().map_or(0, |(epoch, _)| epoch.0) + 1;
        }
    }
}

async fn check(case: &Case) {
    for at in 1..EPOCHS {
        for step in STEPS {
            for n_crashes in 1..=2 {
                let dir = tempfile::tempdir().expect("makes a folder");
                run(case, dir.path(), at, step, n_crashes).await;
                let seen = (case.seen)(dir.path());
                assert_eq!(seen, expected(), "{n_crashes} crashes: {step:?} {at}, {:?}", case.options);
                let left = crate::files::tests::hidden(dir.path());
                assert!(left.is_empty(), "{n_crashes} crashes: {step:?} {at}: {left:?} are left");
            }
        }
    }
}

fn nothing(_: &Path, _: &Prepared) {}

/// Does the first of the renames that a commit in a folder consists of.
fn one_rename(dir: &Path, prepared: &Prepared) {
    let Some(file) = prepared.0["files"].get(0) else { return };
    let name = |key: &str| dir.join("t").join(file[key].as_str().expect("is text"));
    std::fs::create_dir_all(name("visible").parent().expect("is in a folder")).expect("makes a folder");
    std::fs::rename(name("hidden"), name("visible")).expect("renames");
}

/// Appends half of what a commit appends.
fn half_append(dir: &Path, prepared: &Prepared) {
    let Some(hidden) = prepared.0["hidden"].as_str().filter(|_| prepared.0["is_first"] == false) else { return };
    let added = std::fs::read(dir.join(hidden)).expect("reads");
    let path = dir.join("t.csv");
    let mut all = std::fs::read(&path).expect("reads");
    all.extend_from_slice(&added[..added.len() / 2]);
    std::fs::write(&path, all).expect("writes");
}

fn in_sqlite(dir: &Path) -> Vec<String> {
    let file = rusqlite::Connection::open(dir.join("t.db")).expect("opens");
    let mut query = file.prepare("SELECT id || ' ' || name FROM t ORDER BY 1").expect("is there");
    query.query_map([], |row| row.get(0)).expect("reads").map(|row| row.expect("reads")).collect()
}

fn in_csv(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("t.csv")).expect("reads");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("id,name"));
    let mut rows: Vec<String> = lines.map(|line| line.replace(',', " ")).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn rows_in_sqlite_are_there_once() {
    let options = &[("path", "t.db")];
    check(&Case { connector: Box::new(crate::sqlite::Sqlite), options, seen: in_sqlite, tear: nothing }).await;
}

#[tokio::test]
async fn rows_in_folders_are_there_once() {
    let (connector, seen) = (Box::new(crate::files::Filesystem), crate::files::tests::seen_in_folder);
    let options = &[("path", "t"), ("rows_per_file_max", "1")];
    check(&Case { connector, options, seen, tear: one_rename }).await;
}

#[tokio::test]
async fn rows_in_folders_of_parquet_are_there_once() {
    let (connector, seen) = (Box::new(crate::files::Parquet), crate::files::tests::seen_in_folder);
    let options = &[("path", "t"), ("bytes_per_file_max", "1")];
    check(&Case { connector, options, seen, tear: one_rename }).await;
}

#[tokio::test]
async fn rows_in_partitions_are_there_once() {
    let (connector, seen) = (Box::new(crate::files::Parquet), crate::files::tests::seen_in_folder);
    let options = &[("path", "t"), ("partition_by", "name")];
    check(&Case { connector, options, seen, tear: one_rename }).await;
}

#[tokio::test]
async fn rows_in_single_files_are_there_once() {
    let options = &[("path", "t.csv")];
    check(&Case { connector: Box::new(crate::files::SingleFile), options, seen: in_csv, tear: half_append }).await;
    let options = &[("path", "t.parquet")];
    let seen = crate::files::tests::seen_in_parquet;
    check(&Case { connector: Box::new(crate::files::Parquet), options, seen, tear: nothing }).await;
}
