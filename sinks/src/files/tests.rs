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
    assert!(listed(&folder).iter().all(|name| name.starts_with(".part-")), "{:?}", listed(&folder));
    for _ in 0..2 {
        sink.commit(Epoch(1), &prepared).await.expect("commits");
        assert_eq!(listed(&folder), ["part-00001-00000001-000.parquet", "part-00001-00000001-001.parquet"]);
    }
    assert_eq!(rows_of(&folder.join("part-00001-00000001-000.parquet")), 2);
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
    assert_eq!(listed(&folder)[2], "part-00002-00000001-000.parquet");
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
