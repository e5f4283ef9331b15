//! PostgreSQL: the rules of all sinks, types, refused rows, differences, upserts, TLS.

mod rejected;
mod types;
mod way;

use super::conformance::{self, Server, Store};
use super::{Process, batch, epoch, prepared, schema, spec, table};
use crate::servers::Postgres;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use expect_test::expect;
use headwater_core::{Batch, Epoch, Error, ErrorKind, Sink};
use std::sync::Arc;

impl Store for Postgres {
    fn connector(&self) -> &'static str {
        "postgres"
    }

    fn options(&self, table: &str) -> Vec<(&'static str, String)> {
        vec![("url", self.url()), ("table", format!("public.{table}"))]
    }

    fn rows(&self, table: &str) -> Vec<String> {
        self.sql(&format!("COPY (SELECT id || '|' || coalesce(name, '') AS r FROM public.{table}) TO STDOUT"))
            .iter()
            .map(|line| line.replace("\\n", "\n").replace("\\\\", "\\"))
            .collect::<std::collections::BinaryHeap<String>>()
            .into_sorted_vec()
    }

    fn server(&mut self) -> Option<&mut dyn Server> {
        Some(self)
    }
}

impl Server for Postgres {
    fn stop(&mut self) {
        Self::stop(self);
    }

    fn again(&mut self) {
        Self::again(self);
    }

    fn shown(&self) -> String {
        format!("{}:5432/postgres", self.folder().display())
    }
}

#[tokio::test]
async fn it_keeps_the_rules_of_all_sinks() {
    conformance::check(&mut Postgres::start()).await;
}

async fn try_open(
    server: &Postgres,
    key: &[usize],
    options: &[(&'static str, &str)],
    restored: Option<u64>,
) -> Result<Box<dyn Sink>, Error> {
    let mut all = vec![("url", server.url())];
    all.extend(options.iter().map(|(name, value)| (*name, (*value).to_owned())));
    spec("postgres", &table("t", schema(), key, &all))?.open(&Process::new().context(restored, 0, 1)).await
}

fn rows(server: &Postgres) -> Vec<String> {
    server.sql("SELECT id || '|' || coalesce(name, '') FROM t ORDER BY id, name")
}

#[tokio::test]
async fn pieces_of_a_large_epoch_cancel_each_other() {
    let server = Postgres::start();
    let mut sink = try_open(&server, &[0], &[], None).await.expect("opens");
    let many: Vec<(i64, Option<&str>, i64)> = (0..70_000).map(|id| (id, Some("old"), 1)).collect();
    let gone: Vec<(i64, Option<&str>, i64)> =
        (0..70_000).filter(|id| id % 10_000 > 0).map(|id| (id, Some("old"), -1)).collect();
    epoch(&mut sink, 1, vec![batch(&many), batch(&gone), batch(&[(0, Some("old"), -1), (0, Some("new"), 1)])]).await;
    assert_eq!(rows(&server), ["0|new", "10000|old", "20000|old", "30000|old", "40000|old", "50000|old", "60000|old"]);
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE '\\_headwater\\_staged%' AND relkind = 'r'";
    assert_eq!(server.sql(left), ["1"]);
    drop(try_open(&server, &[0], &[], None).await.expect("opens"));
    assert_eq!(server.sql(left), ["1"], "one run's staging at a time");
}

#[tokio::test]
async fn the_last_row_of_a_key_stays_or_the_first_on_request() {
    let server = Postgres::start();
    let insertions = || vec![batch(&[(1, Some("a"), 1), (1, Some("b"), 1), (2, Some("c"), 1)])];
    let mut sink = try_open(&server, &[0], &[], None).await.expect("opens");
    epoch(&mut sink, 1, insertions()).await;
    assert_eq!(rows(&server), ["1|b", "2|c"]);
    server.sql("DROP TABLE t");
    let mut sink = try_open(&server, &[0], &[("on_conflict", "ignore")], None).await.expect("opens");
    epoch(&mut sink, 1, insertions()).await;
    epoch(&mut sink, 2, vec![batch(&[(2, Some("d"), 1)])]).await;
    assert_eq!(rows(&server), ["1|a", "2|c"]);
}

#[tokio::test]
async fn a_key_with_null_is_a_key() {
    let server = Postgres::start();
    let mut sink = try_open(&server, &[0, 1], &[], None).await.expect("opens");
    epoch(&mut sink, 1, vec![batch(&[(1, None, 1), (2, None, 1), (3, Some("c"), 1)])]).await;
    epoch(&mut sink, 2, vec![batch(&[(1, None, -1), (3, Some("c"), -1), (4, None, 1), (2, None, 1)])]).await;
    assert_eq!(rows(&server), ["2|", "4|"]);
}

#[tokio::test]
async fn replace_deletes_at_the_first_commit_of_a_run() {
    let server = Postgres::start();
    for name in ["first", "second"] {
        let mut sink = try_open(&server, &[0], &[("on_start", "replace")], None).await.expect("opens");
        let before = rows(&server);
        let token = prepared(&mut sink, 1, vec![batch(&[(if name == "first" { 1 } else { 9 }, Some(name), 1)])]).await;
        assert_eq!(rows(&server), before);
        sink.commit(Epoch(1), &token).await.expect("commits");
        epoch(&mut sink, 2, vec![batch(&[(3, Some(name), 1)])]).await;
    }
    assert_eq!(rows(&server), ["3|second", "9|second"]);
}

#[tokio::test]
async fn a_later_run_shuts_an_earlier_one_out() {
    let server = Postgres::start();
    let mut first = try_open(&server, &[], &[], None).await.expect("opens");
    let token = prepared(&mut first, 1, vec![batch(&[(1, None, 1)])]).await;
    let mut second = try_open(&server, &[], &[], None).await.expect("opens");
    let error = first.commit(Epoch(1), &token).await.expect_err("is shut out");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    first.write(batch(&[(3, None, 1)])).await.expect("waits in memory");
    let error = first.prepare(Epoch(2)).await.expect_err("is shut out");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    epoch(&mut second, 1, vec![batch(&[(2, Some("b"), 1)])]).await;
    assert_eq!(rows(&server), ["2|b"]);
}

#[tokio::test]
async fn an_older_checkpoint_is_told_where_rows_would_be_doubled() {
    let server = Postgres::start();
    let mut sink = try_open(&server, &[], &[], None).await.expect("opens");
    for number in 1..=3 {
        epoch(&mut sink, number, vec![batch(&[(1, Some("a"), 1)])]).await;
    }
    let error = try_open(&server, &[], &[], Some(1)).await.map(|_| ()).expect_err("epochs 2 and 3 are there");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let message = error.message().replace(&server.folder().display().to_string(), "DIR");
    expect!["the table 't' in DIR:5432/postgres has epoch 3 of pipeline 'p/1' already, the checkpoint is of epoch 1"]
        .assert_eq(&message);
    // The statement of the help is the way out.
    let help = error.help().expect("there is one");
    server.sql(&help[help.find("UPDATE").expect("a statement")..]);
    let mut sink = try_open(&server, &[], &[], Some(1)).await.expect("opens");
    epoch(&mut sink, 2, vec![batch(&[(1, Some("b"), 1)])]).await;
    assert_eq!(rows(&server).len(), 4);
}

#[tokio::test]
async fn rows_that_were_staged_and_are_gone_are_missed() {
    let server = Postgres::start();
    let mut sink = try_open(&server, &[], &[], None).await.expect("opens");
    let token = prepared(&mut sink, 1, vec![batch(&[(1, Some("a"), 1)])]).await;
    let staging = token.0["part"]["staging"].as_str().expect("a name").to_owned();
    server.sql(&format!("DELETE FROM {staging}"));
    let error = sink.commit(Epoch(1), &token).await.expect_err("a row is missing");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().starts_with("0 of 1 rows of epoch 1 are left in the staging table"), "{error}");
    assert!(rows(&server).is_empty());
}

#[tokio::test]
async fn upserts_are_visible_at_every_flush() {
    let server = Postgres::start();
    let mut sink = try_open(&server, &[0], &[("delivery", "upsert")], None).await.expect("opens");
    sink.write(batch(&[(1, Some("a"), 1), (2, Some("b"), 1)])).await.expect("writes");
    assert!(rows(&server).is_empty());
    sink.flush().await.expect("flushes");
    assert_eq!(rows(&server), ["1|a", "2|b"]);
    sink.write(batch(&[(1, Some("a"), -1), (1, Some("x"), 1), (2, Some("b"), -1)])).await.expect("writes");
    drop(sink);
    // What was not flushed comes again.
    let mut sink = try_open(&server, &[0], &[("delivery", "upsert")], Some(1)).await.expect("opens");
    for number in [2, 3] {
        let changes = vec![batch(&[(1, Some("a"), -1), (1, Some("x"), 1), (2, Some("b"), -1)])];
        epoch(&mut sink, number, changes).await;
        assert_eq!(rows(&server), ["1|x"]);
    }
    let error = try_open(&server, &[], &[("delivery", "upsert")], None).await.map(|_| ()).expect_err("has no key");
    assert_eq!(
        error.to_string(),
        "the table 't' has delivery = 'upsert' and no key\nhelp: declare PRIMARY KEY (…), or leave delivery out"
    );
}

async fn difference(server: &Postgres, create: &str, key: &[usize]) -> String {
    server.sql(&format!("DROP TABLE IF EXISTS t; {create}"));
    match try_open(server, key, &[], None).await {
        Ok(_) => "fits".to_owned(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            error.to_string().replace(&server.folder().display().to_string(), "DIR")
        }
    }
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_a_conflict_with_the_difference() {
    let server = Postgres::start();
    let fits = "CREATE TABLE t (n serial, id int PRIMARY KEY, name varchar(9), extra text NOT NULL DEFAULT 'x', \
                g int GENERATED ALWAYS AS (id * 2) STORED)";
    assert_eq!(difference(&server, fits, &[0]).await, "fits");
    let parts = "CREATE TABLE t (id bigint, name text, UNIQUE (name, id)) PARTITION BY RANGE (id)";
    assert_eq!(difference(&server, parts, &[0, 1]).await, "fits");
    expect![[r#"
        the table 't' in DIR:5432/postgres does not fit: it has no column 'name' (text); 'key' there needs a value and has no default; it has no unique index over ("id")
        help: change the declaration, or name another table with table = '…', or run at the server: ALTER TABLE "t" ADD COLUMN "name" text; ALTER TABLE "t" ALTER COLUMN "key" DROP NOT NULL; CREATE UNIQUE INDEX ON "t" ("id");"#]]
    .assert_eq(&difference(&server, "CREATE TABLE t (id bigint, key text NOT NULL)", &[0]).await);
    expect![[r#"
        the table 't' in DIR:5432/postgres does not fit: 'id' is text there, bigint is needed; 'name' is computed there and takes no values
        help: change the declaration, or name another table with table = '…', or run at the server: ALTER TABLE "t" ALTER COLUMN "id" TYPE bigint;"#]]
    .assert_eq(&difference(&server, "CREATE TABLE t (id text, name text GENERATED ALWAYS AS ('a') STORED)", &[]).await);
    server.sql("DROP TABLE t");
    expect![[r#"
        't' in DIR:5432/postgres is no table
        help: name a table with table = '…'"#]]
    .assert_eq(&difference(&server, "CREATE VIEW t AS SELECT 1 AS id, 'a' AS name", &[]).await);
}
