//! Tests of the file sinks: what is visible when.

use super::*;
use crate::sqlite::tests::{batch, context, schema};
use std::path::Path;

fn table(dir: &Path, options: &[(&str, &str)]) -> TableDefinition {
    TableDefinition {
        name: "out".into(),
        schema: Some(schema()),
        primary_key: Vec::new(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        base: dir.to_owned(),
    }
}

async fn open(connector: &dyn Connector, dir: &Path, options: &[(&str, &str)]) -> Box<dyn Sink> {
    connector.sink(&table(dir, options)).expect("fits").open(&context()).await.expect("opens")
}

fn listed(dir: &Path) -> Vec<String> {
    let entries = dir.read_dir().expect("lists").map(|entry| entry.expect("lists").file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The hidden files in a folder and in those below it.
pub(crate) fn hidden(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in listed(dir) {
        let path = dir.join(&name);
        if path.is_dir() {
            found.extend(hidden(&path));
        } else if name.starts_with('.') {
            found.push(name);
        }
    }
    found
}

fn rows_in(path: &Path, partition: &str, out: &mut Vec<String>) {
    for name in listed(path).into_iter().filter(|name| !name.starts_with('.')) {
        let below = path.join(&name);
        if let Some((_, value)) = name.split_once('=') {
            rows_in(&below, value, out);
        } else if name.ends_with(".parquet") {
            let file = std::fs::File::open(&below).expect("opens");
            let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1024);
            for rows in reader.expect("is Parquet") {
                let mut lines = Vec::new();
                crate::rows::json(&rows.expect("reads"), &mut lines).expect("writes");
                out.extend(String::from_utf8(lines).expect("is text").lines().map(|line| shown(line, partition)));
            }
        } else {
            let text = std::fs::read_to_string(&below).expect("reads");
            out.extend(text.lines().map(|line| shown(line, partition)));
        }
    }
}

fn shown(line: &str, partition: &str) -> String {
    let row: serde_json::Value = serde_json::from_str(line).expect("is JSON");
    format!("{} {}", row["id"], row["name"].as_str().unwrap_or(partition))
}

/// The rows of the folder `t`, sorted.
pub(crate) fn seen_in_folder(dir: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    rows_in(&dir.join("t"), "", &mut rows);
    rows.sort();
    rows
}

/// The rows of the Parquet files right in a folder, sorted.
pub(crate) fn seen_in_parquet(dir: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    rows_in(dir, "", &mut rows);
    rows.sort();
    rows
}

fn rows_of(path: &Path) -> usize {
    let file = std::fs::File::open(path).expect("opens");
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1024).expect("is Parquet");
    reader.map(|rows| rows.expect("reads").num_rows()).sum()
}

#[tokio::test]
async fn parquet_files_appear_at_the_commit_and_roll() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut sink = open(&Parquet, dir.path(), &[("path", "t"), ("rows_per_file_max", "2")]).await;
    let folder = dir.path().join("t");
    sink.write(batch(&[(1, None, 1), (2, None, 1), (3, None, 1)])).await.expect("writes");
    let prepared = sink.prepare(Epoch(1)).await.expect("prepares");
    assert!(listed(&folder).iter().all(|name| name.starts_with(".part-") && name.ends_with(".tmp")));
    let expected = ["part-00001-00000001-1f675777-0-000.parquet", "part-00001-00000001-1f675777-0-001.parquet"];
    for _ in 0..2 {
        sink.commit(Epoch(1), &prepared).await.expect("commits");
        assert_eq!(listed(&folder), expected);
    }
    assert_eq!(rows_of(&folder.join(expected[0])), 2);
    let empty = sink.prepare(Epoch(2)).await.expect("prepares");
    sink.commit(Epoch(2), &empty).await.expect("commits");
    assert_eq!(listed(&folder).len(), 2);
    // What is not prepared leaves nothing behind, and a second run has names of its own.
    sink.write(batch(&[(4, None, 1)])).await.expect("writes");
    drop(sink);
    assert_eq!(listed(&folder).len(), 2);
    let mut sink = open(&Parquet, dir.path(), &[("path", "t")]).await;
    sink.write(batch(&[(5, None, 1)])).await.expect("writes");
    let prepared = sink.prepare(Epoch(1)).await.expect("prepares");
    sink.commit(Epoch(1), &prepared).await.expect("commits");
    assert!(listed(&folder)[2].starts_with("part-00002-00000001-"), "{:?}", listed(&folder));
}

#[tokio::test]
async fn partitions_are_folders_and_their_columns_are_not_in_the_files() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut sink = open(&Filesystem, dir.path(), &[("path", "t"), ("partition_by", "name")]).await;
    let rows = [(1, Some("a/b=c"), 1), (2, None, 1), (3, Some(".."), 1), (4, Some("a/b=c"), 1)];
    sink.write(batch(&rows)).await.expect("writes");
    let prepared = sink.prepare(Epoch(1)).await.expect("prepares");
    sink.commit(Epoch(1), &prepared).await.expect("commits");
    let folders = ["name=%2E%2E", "name=__HIVE_DEFAULT_PARTITION__", "name=a%2Fb%3Dc"];
    assert_eq!(listed(&dir.path().join("t")), folders);
    let last = dir.path().join("t").join(folders[2]);
    let text = std::fs::read_to_string(last.join(&listed(&last)[0])).expect("reads");
    assert_eq!(text, "{\"id\":1}\n{\"id\":4}\n");
}

#[test]
fn what_cannot_be_a_partition_is_refused() {
    let refused = |options: &[(&str, &str)]| {
        Filesystem.sink(&table(Path::new("/nowhere"), options)).expect_err("is refused").to_string()
    };
    let all = [
        refused(&[("path", "t"), ("partition_by", "nam")]),
        refused(&[("path", "t"), ("partition_by", "name, name")]),
        refused(&[("path", "t"), ("partition_by", "id,name")]),
        refused(&[("path", "t"), ("partition_by", "name"), ("format", "debezium_json")]),
    ];
    expect_test::expect![[r#"
        the option partition_by = 'nam' names no column 'nam'
        help: the columns are: id, name
        the option partition_by = 'name, name' has 'name' twice
        the option partition_by = 'id,name' leaves no column for the files
        help: leave out one of them
        partition_by = '…' is for tables of insertions, debezium_json holds changes
        help: leave partition_by out, or write another format"#]]
    .assert_eq(&all.join("\n"));
}

#[tokio::test]
async fn subtasks_share_a_folder_and_go_on_as_others() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let spec = Filesystem.sink(&table(dir.path(), &[("path", "t")])).expect("fits");
    let mut tokens = Vec::new();
    for subtask in 0..3 {
        let mut sink = spec.open(&context().with_subtask(subtask, 3)).await.expect("opens");
        let id = i64::try_from(subtask).expect("is small");
        sink.write(batch(&[(id, Some("a"), 1)])).await.expect("writes");
        tokens.push(sink.prepare(Epoch(1)).await.expect("prepares"));
        sink.write(batch(&[(id, Some("void"), 1)])).await.expect("writes");
        sink.prepare(Epoch(2)).await.expect("prepares");
        sink.write(batch(&[(id, Some("void"), 1)])).await.expect("writes");
        std::mem::forget(sink);
    }
    let context = |subtask| context().with_subtask(subtask, 2).with_restored(Some(Epoch(1)));
    let mut first = spec.open(&context(0)).await.expect("opens");
    first.write(batch(&[(3, Some("a"), 1)])).await.expect("writes");
    let mut second = spec.open(&context(1)).await.expect("opens");
    first.commit(Epoch(1), &tokens[0]).await.expect("commits");
    second.commit(Epoch(1), &tokens[1]).await.expect("commits");
    first.commit(Epoch(1), &tokens[2]).await.expect("commits");
    let prepared = first.prepare(Epoch(2)).await.expect("prepares");
    first.commit(Epoch(2), &prepared).await.expect("commits");
    assert_eq!(seen_in_folder(dir.path()), ["0 a", "1 a", "2 a", "3 a"]);
    assert!(hidden(dir.path()).is_empty());
}

#[tokio::test]
async fn a_single_file_that_is_shorter_than_it_was_is_not_gone_on_with() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let options = [("path", "o.jsonl")];
    let mut sink = open(&SingleFile, dir.path(), &options).await;
    sink.write(batch(&[(1, Some("a"), 1)])).await.expect("writes");
    let prepared = sink.prepare(Epoch(7)).await.expect("prepares");
    sink.commit(Epoch(7), &prepared).await.expect("commits");
    let path = dir.path().join("o.jsonl");
    let again = || async {
        let spec = SingleFile.sink(&table(dir.path(), &options)).expect("fits");
        let mut sink = spec.open(&context().with_restored(Some(Epoch(7)))).await.expect("opens");
        sink.commit(Epoch(7), &prepared).await
    };
    std::fs::write(&path, "{\"id\":1,\"name\":\"a\"}\nrest of an epoch that is void").expect("writes");
    again().await.expect("is long enough");
    assert_eq!(std::fs::read_to_string(&path).expect("reads"), "{\"id\":1,\"name\":\"a\"}\n");
    std::fs::write(&path, "{}\n").expect("writes");
    let error = again().await.expect_err("is too short");
    assert_eq!(error.kind(), headwater_core::ErrorKind::Data);
    assert!(error.message().ends_with("/o.jsonl' has 3 bytes where 20 were written"), "{error}");
}

async fn epochs(connector: &dyn Connector, dir: &Path, options: &[(&str, &str)]) {
    let mut sink = open(connector, dir, options).await;
    for epoch in 1..=3 {
        let id = i64::try_from(epoch).expect("is small");
        sink.write(batch(&[(id, Some("a"), 1)])).await.expect("writes");
        let prepared = sink.prepare(Epoch(epoch)).await.expect("prepares");
        sink.commit(Epoch(epoch), &prepared).await.expect("commits");
        sink.commit(Epoch(epoch), &prepared).await.expect("commits again");
    }
}

#[tokio::test]
async fn a_single_file_grows_by_epochs_and_is_replaced_by_the_next_run() {
    let dir = tempfile::tempdir().expect("makes a folder");
    for _ in 0..2 {
        epochs(&SingleFile, dir.path(), &[("path", "o.jsonl")]).await;
        epochs(&SingleFile, dir.path(), &[("path", "o.csv")]).await;
        epochs(&Parquet, dir.path(), &[("path", "o.parquet")]).await;
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("reads");
        assert_eq!(
            read("o.jsonl"),
            "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"a\"}\n{\"id\":3,\"name\":\"a\"}\n"
        );
        assert_eq!(read("o.csv"), "id,name\n1,a\n2,a\n3,a\n");
        assert_eq!(rows_of(&dir.path().join("o.parquet")), 3);
        assert_eq!(listed(dir.path()), ["o.csv", "o.jsonl", "o.parquet"]);
    }
}

#[tokio::test]
async fn an_old_file_stays_until_the_first_commit() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let path = dir.path().join("o.json");
    std::fs::write(&path, "old\n").expect("writes");
    let mut sink = open(&SingleFile, dir.path(), &[("path", "o.json")]).await;
    let prepared = sink.prepare(Epoch(1)).await.expect("prepares");
    assert_eq!(std::fs::read_to_string(&path).expect("reads"), "old\n");
    sink.commit(Epoch(1), &prepared).await.expect("commits");
    assert_eq!(std::fs::read_to_string(&path).expect("reads"), "");
}

#[test]
fn only_debezium_files_hold_changes() {
    let dir = Path::new("/nowhere");
    let free = SingleFile.sink(&table(dir, &[("path", "o")])).expect("fits");
    assert_eq!(free.changes(), Changes::AppendOnly);
    assert_eq!(free.for_changes().expect("another format").changes(), Changes::Any);
    let said = SingleFile.sink(&table(dir, &[("path", "o"), ("format", "json")])).expect("fits");
    assert!(said.for_changes().is_none());
    let changes = |format| SingleFile.sink(&table(dir, &[("path", "o"), ("format", format)])).expect("fits").changes();
    assert_eq!(changes("debezium_json"), Changes::Any);
    assert_eq!(changes("json"), Changes::AppendOnly);
    assert_eq!(changes("csv"), Changes::AppendOnly);
}
