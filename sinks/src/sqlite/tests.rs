//! Tests of the SQLite sink against a real file.

mod types;

use super::*;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use expect_test::expect;
use headwater_core::{DeadLetter, Error, ErrorKind, EventTime, FixedClock};
use rusqlite::Connection as Sql;
use std::path::Path;

/// `id BIGINT NOT NULL, name TEXT`.
pub(crate) fn schema() -> SchemaRef {
    let id = Field::new("id", DataType::Int64, false);
    Arc::new(Schema::new(vec![id, Field::new("name", DataType::Utf8, true)]))
}

pub(crate) fn batch(rows: &[(i64, Option<&str>, i64)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
    ];
    let batch = RecordBatch::try_new(schema(), columns).expect("fits the schema");
    if rows.iter().all(|row| row.2 == 1) {
        return Batch::append_only(batch);
    }
    Batch::changing(batch, rows.iter().map(|row| Some(row.2)).collect()).expect("one a row")
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("is text")
}

pub(crate) fn context() -> TaskContext {
    TaskContext::new("p", "sink \"1\"", Arc::new(FixedClock::new(EventTime(0))))
}

fn table(dir: &Path, key: &[usize], options: &[(&str, &str)]) -> TableDefinition {
    let options = options.iter().chain(&[("path", "m.db")]);
    TableDefinition {
        name: "odd \"name\"".into(),
        schema: Some(schema()),
        primary_key: key.to_vec(),
        options: options.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        base: dir.to_owned(),
    }
}

async fn try_open(table: &TableDefinition) -> Result<Box<dyn Sink>, Error> {
    Sqlite.sink(table)?.open(&context()).await
}

async fn epoch(sink: &mut Box<dyn Sink>, number: u64, batches: Vec<Batch>) -> Prepared {
    for batch in batches {
        sink.write(batch).await.expect("writes");
    }
    let prepared = sink.prepare(Epoch(number)).await.expect("prepares");
    sink.commit(Epoch(number), &prepared).await.expect("commits");
    prepared
}

fn contents(dir: &Path) -> Vec<(Option<i64>, Option<String>)> {
    let file = Sql::open(dir.join("m.db")).expect("opens");
    let mut query = file.prepare("SELECT id, name FROM \"odd \"\"name\"\"\" ORDER BY id, name").expect("is there");
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("reads");
    rows.map(|row| row.expect("reads")).collect()
}

fn row(id: i64, name: &str) -> (Option<i64>, Option<String>) {
    (Some(id), Some(name.to_owned()))
}

#[tokio::test]
async fn rows_are_visible_at_the_commit_and_not_before() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut sink = try_open(&table(dir.path(), &[0], &[])).await.expect("opens");
    sink.write(batch(&[(1, Some("a"), 1)])).await.expect("writes");
    let prepared = sink.prepare(Epoch(1)).await.expect("prepares");
    assert_eq!(contents(dir.path()), []);
    sink.commit(Epoch(1), &prepared).await.expect("commits");
    assert_eq!(contents(dir.path()), [row(1, "a")]);
}

#[tokio::test]
async fn changes_are_merged_by_net_multiplicity() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut sink = try_open(&table(dir.path(), &[0], &[])).await.expect("opens");
    epoch(&mut sink, 1, vec![batch(&[(1, Some("a"), 1), (2, Some("b"), 1), (3, Some("c"), 1)])]).await;
    let changes = vec![
        batch(&[(1, Some("a"), -1), (1, Some("x"), 1)]),
        batch(&[(1, Some("x"), -1), (1, Some("y"), 1)]),
        batch(&[(2, Some("b"), -1)]),
        batch(&[(3, Some("c"), -1), (3, Some("c"), 1)]),
    ];
    epoch(&mut sink, 2, changes).await;
    assert_eq!(contents(dir.path()), [row(1, "y"), row(3, "c")]);
}

#[tokio::test]
async fn pieces_of_a_large_epoch_cancel_each_other() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut sink = try_open(&table(dir.path(), &[0], &[])).await.expect("opens");
    let many: Vec<(i64, Option<&str>, i64)> = (0..70_000).map(|id| (id, Some("old"), 1)).collect();
    let gone: Vec<(i64, Option<&str>, i64)> =
        (0..70_000).filter(|id| id % 10_000 > 0).map(|id| (id, Some("old"), -1)).collect();
    epoch(&mut sink, 1, vec![batch(&many), batch(&gone), batch(&[(0, Some("old"), -1), (0, Some("new"), 1)])]).await;
    let names: Vec<_> = contents(dir.path()).into_iter().filter_map(|(_, name)| name).collect();
    assert_eq!(names, ["new", "old", "old", "old", "old", "old", "old"]);
}

#[tokio::test]
async fn a_repeated_commit_changes_nothing() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut sink = try_open(&table(dir.path(), &[], &[])).await.expect("opens");
    let first = epoch(&mut sink, 1, vec![batch(&[(1, Some("a"), 1)])]).await;
    sink.commit(Epoch(1), &first).await.expect("commits again");
    let second = epoch(&mut sink, 2, vec![batch(&[(1, Some("a"), 2)])]).await;
    sink.commit(Epoch(2), &second).await.expect("commits again");
    sink.commit(Epoch(1), &first).await.expect("commits again");
    assert_eq!(contents(dir.path()), [row(1, "a"), row(1, "a"), row(1, "a")]);
}

#[tokio::test]
async fn replace_deletes_at_the_first_commit_of_a_run() {
    let dir = tempfile::tempdir().expect("makes a folder");
    for name in ["first", "second"] {
        let options = table(dir.path(), &[0], &[("on_start", "replace")]);
        let before = if name == "first" { 0 } else { 2 };
        let mut sink = try_open(&options).await.expect("opens");
        sink.write(batch(&[(if before == 0 { 1 } else { 9 }, Some(name), 1)])).await.expect("writes");
        let prepared = sink.prepare(Epoch(1)).await.expect("prepares");
        assert_eq!(contents(dir.path()).len(), before);
        sink.commit(Epoch(1), &prepared).await.expect("commits");
        epoch(&mut sink, 2, vec![batch(&[(3, Some(name), 1)])]).await;
    }
    assert_eq!(contents(dir.path()), [row(3, "second"), row(9, "second")]);
}

#[tokio::test]
async fn a_later_run_shuts_an_earlier_one_out() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut first = try_open(&table(dir.path(), &[0], &[])).await.expect("opens");
    first.write(batch(&[(1, None, 1)])).await.expect("writes");
    let prepared = first.prepare(Epoch(1)).await.expect("prepares");
    let mut second = try_open(&table(dir.path(), &[0], &[])).await.expect("opens");
    let error = first.commit(Epoch(1), &prepared).await.expect_err("is shut out");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    epoch(&mut second, 1, vec![batch(&[(2, Some("b"), 1)])]).await;
    assert_eq!(contents(dir.path()), [row(2, "b")]);
}

#[tokio::test]
async fn all_tables_of_a_pipeline_change_at_once() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut sinks = Vec::new();
    for name in ["a", "b"] {
        let mut context = context();
        context.node = name.into();
        let spec = Sqlite.sink(&table(dir.path(), &[0], &[("table", name)])).expect("fits");
        sinks.push(spec.open(&context).await.expect("opens"));
    }
    let count = |table: &str| {
        let file = Sql::open(dir.path().join("m.db")).expect("opens");
        file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).expect("reads")
    };
    let mut tokens = Vec::new();
    for sink in &mut sinks {
        sink.write(batch(&[(1, None, 1)])).await.expect("writes");
        tokens.push(sink.prepare(Epoch(1)).await.expect("prepares"));
    }
    sinks[1].commit(Epoch(1), &tokens[1]).await.expect("commits");
    assert_eq!((count("a"), count("b")), (1, 1));
    // One that has not prepared is left alone.
    sinks[0].commit(Epoch(1), &tokens[0]).await.expect("commits");
    sinks[0].write(batch(&[(2, None, 1)])).await.expect("writes");
    sinks[1].write(batch(&[(2, None, 1)])).await.expect("writes");
    let token = sinks[0].prepare(Epoch(2)).await.expect("prepares");
    sinks[0].commit(Epoch(2), &token).await.expect("commits");
    assert_eq!((count("a"), count("b")), (2, 1));
    let token = sinks[1].prepare(Epoch(2)).await.expect("prepares");
    sinks[1].commit(Epoch(2), &token).await.expect("commits");
    assert_eq!((count("a"), count("b")), (2, 2));
}

#[tokio::test]
async fn a_file_that_is_not_what_it_was_is_not_gone_on_with() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let table = table(dir.path(), &[0], &[]);
    let spec = Sqlite.sink(&table).expect("fits");
    let mut sink = try_open(&table).await.expect("opens");
    let first = epoch(&mut sink, 1, vec![batch(&[(1, Some("a"), 1)])]).await;
    sink.write(batch(&[(2, Some("b"), 1)])).await.expect("writes");
    let second = sink.prepare(Epoch(2)).await.expect("prepares");
    let restored = |epoch| context().with_restored(Some(Epoch(epoch)));
    let mut says = String::new();
    let mut note = |error: Error| {
        says.push_str(&format!("{:?}: {error}\n", error.kind()).replace(&dir.path().display().to_string(), "DIR"));
    };
    let file = Sql::open(dir.path().join("m.db")).expect("opens");
    let mut again = spec.open(&restored(2)).await.expect("opens");
    note(sink.commit(Epoch(2), &second).await.expect_err("another process has begun"));
    file.execute_batch("DELETE FROM \"_headwater_staged_p_sink \"\"1\"\"\"").expect("deletes");
    note(again.commit(Epoch(2), &second).await.expect_err("nothing is staged"));
    file.execute_batch("UPDATE _headwater_epochs SET epoch = 9").expect("updates");
    note(spec.open(&restored(2)).await.err().expect("is ahead"));
    file.execute_batch("DELETE FROM _headwater_epochs").expect("deletes");
    let mut new = spec.open(&restored(1)).await.expect("opens");
    note(new.commit(Epoch(1), &first).await.expect_err("is unknown"));
    expect![[r#"
        Conflict: another run of pipeline 'p' writes to 'DIR/m.db'
        help: stop one of the two
        Data: 'DIR/m.db' holds 0 rows of epoch 2 for 'odd "name"', 1 were prepared
        help: the file was changed or replaced: put it back, or start the pipeline anew
        Conflict: the table 'odd "name"' in 'DIR/m.db' has epoch 9, the checkpoint is of epoch 2
        help: go on from the newest checkpoint, or put back the file as it was at that checkpoint
        Data: 'DIR/m.db' knows nothing of epoch 1 of 'odd "name"', which was prepared there
        help: the file was changed or replaced: put it back, or start the pipeline anew
    "#]]
    .assert_eq(&says);
}

#[tokio::test]
async fn ignore_keeps_the_first_row_of_a_key() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut sink = try_open(&table(dir.path(), &[0], &[("on_conflict", "ignore")])).await.expect("opens");
    epoch(&mut sink, 1, vec![batch(&[(1, Some("a"), 1), (1, Some("b"), 1)])]).await;
    epoch(&mut sink, 2, vec![batch(&[(1, Some("c"), 1)])]).await;
    assert_eq!(contents(dir.path()), [row(1, "a")]);
}

#[tokio::test]
async fn a_key_with_null_is_deleted_too() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut sink = try_open(&table(dir.path(), &[0, 1], &[])).await.expect("opens");
    epoch(&mut sink, 1, vec![batch(&[(1, None, 1), (2, None, 1), (3, Some("c"), 1)])]).await;
    epoch(&mut sink, 2, vec![batch(&[(1, None, -1), (3, Some("c"), -1), (4, None, 1)])]).await;
    assert_eq!(contents(dir.path()), [(Some(2), None), (Some(4), None)]);
}

async fn difference(create: &str, key: &[usize]) -> String {
    let dir = tempfile::tempdir().expect("makes a folder");
    Sql::open(dir.path().join("m.db")).expect("opens").execute_batch(create).expect("runs");
    match try_open(&table(dir.path(), key, &[("table", "t")])).await {
        Ok(_) => "fits".to_owned(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict);
            error.message().replace(&dir.path().display().to_string(), "DIR")
        }
    }
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_a_conflict_with_the_difference() {
    let fits = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(9), extra TEXT NOT NULL DEFAULT 'x', more INT)";
    assert_eq!(difference(fits, &[0]).await, "fits");
    assert_eq!(difference("CREATE TABLE t (id INT, name TEXT, UNIQUE (name, id))", &[0, 1]).await, "fits");
    expect!["the table 't' in 'DIR/m.db' does not fit: it has no column 'name' (TEXT); 'key' there needs a value and has no default; its primary key is (), (id) is needed"]
        .assert_eq(&difference("CREATE TABLE t (id BIGINT, key TEXT NOT NULL)", &[0]).await);
    expect!["the table 't' in 'DIR/m.db' does not fit: 'id' is TEXT there, BIGINT is needed"]
        .assert_eq(&difference("CREATE TABLE t (id TEXT PRIMARY KEY, name TEXT)", &[0]).await);
}

#[tokio::test]
async fn sinks_on_one_file_take_turns() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let name = format!("t{number}");
        let table = table(dir.path(), &[0], &[("table", &name)]);
        tasks.spawn(async move {
            let mut context = context();
            context.node = name.into();
            let mut sink = Sqlite.sink(&table)?.open(&context).await?;
            for number in 1..=5 {
                epoch(&mut sink, number, vec![batch(&[(1, None, 1)])]).await;
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("does not panic").expect("does not fail");
    }
}

#[tokio::test]
async fn dead_letters_are_kept_once() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let letter = DeadLetter {
        reason: headwater_core::Reason::Late,
        message: "m".into(),
        path: String::new(),
        source: "s".into(),
        position: "f:1".into(),
        payload: "{}".into(),
    };
    let mut table = table(dir.path(), &[3, 4, 0], &[("table", "dead_letters"), ("on_conflict", "ignore")]);
    table.schema = Some(DeadLetter::schema());
    let mut sink = try_open(&table).await.expect("opens");
    for (number, time) in [(1, 1_500_000_000), (2, 0)] {
        let rows = DeadLetter::to_rows(std::slice::from_ref(&letter), EventTime(time)).expect("fits");
        epoch(&mut sink, number, vec![Batch::append_only(rows)]).await;
    }
    let file = Sql::open(dir.path().join("m.db")).expect("opens");
    let kept: String = file
        .query_row("SELECT group_concat(reason || recorded_at) FROM dead_letters", [], |row| row.get(0))
        .expect("reads");
    assert_eq!(kept, "late1970-01-01T00:00:01.500Z");
}
