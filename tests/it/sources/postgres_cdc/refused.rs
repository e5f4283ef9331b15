//! What a PostgreSQL table cannot be followed by, each with the statement that mends it, and values that do not fit.

use super::super::context;
use super::{Table, columns, declared, drain, id_and_v, server, there};
use crate::servers::Postgres;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int64Type};
use expect_test::expect;
use headwater_core::{Error, ErrorKind, Polled, Result, SourceSpec};
use std::sync::Arc;

/// Opens, polls once and returns what is wrong.
async fn wrong(spec: Result<Arc<dyn SourceSpec>>) -> String {
    let attempt = async {
        let mut source = spec?.open(&context(0, 1)).await?;
        source.poll(10).await?;
        Ok::<(), Error>(())
    };
    let error = attempt.await.expect_err("is wrong");
    assert_ne!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
    let text = error.to_string();
    let start = text.find(" at /").or_else(|| text.find(" in /")).map(|at| at + 4);
    let end = start.and_then(|start| text[start..].find("/postgres").map(|n| start + n + "/postgres".len()));
    match start.zip(end) {
        Some((start, end)) => format!("{}SERVER{}\n", &text[..start], &text[end..]),
        None => format!("{text}\n"),
    }
}

#[tokio::test]
async fn what_is_missing_is_told_with_the_statement_that_mends_it() {
    let server = server();
    server.sql(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT, tags TEXT[]); CREATE TABLE u (id BIGINT, v TEXT); \
         CREATE PUBLICATION empty; CREATE PUBLICATION few FOR TABLE t WITH (publish = 'insert')",
    );
    let url = server.url();
    let of = |key: &[usize], more: &[(&str, &str)]| declared(&url, &id_and_v(), key, more);
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let tags = columns(&[("id", DataType::Int64), ("tags", list)]);
    let more = columns(&[("id", DataType::Int64), ("w", DataType::Utf8)]);
    let mut all = String::new();
    all += &wrong(of(&[0], &[("table", "nowhere")])).await;
    all += &wrong(declared(&url, &more, &[0], &[])).await;
    all += &wrong(declared(&url, &tags, &[0], &[])).await;
    all += &wrong(of(&[], &[])).await;
    all += &wrong(of(&[1], &[])).await;
    all += &wrong(of(&[0], &[("table", "u")])).await;
    all += &wrong(of(&[0], &[("create", "false")])).await;
    all += &wrong(of(&[0], &[("publication", "empty")])).await;
    all += &wrong(of(&[0], &[("publication", "few")])).await;
    server.sql("CREATE PUBLICATION headwater_t FOR TABLE t");
    all += &wrong(of(&[0], &[("create", "false")])).await;
    server.sql("CREATE ROLE guest LOGIN; GRANT SELECT ON t TO guest");
    let guest = url.replace("user=headwater", "user=guest");
    all += &wrong(declared(&guest, &id_and_v(), &[0], &[])).await;
    let plain = Postgres::start();
    plain.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT)");
    all += &wrong(declared(&plain.url(), &id_and_v(), &[0], &[])).await;
    expect![[r#"
        table t: there is no table 'nowhere' in SERVER
        help: name it with the option table, with its schema if need be
        table t: the table 't' in SERVER has no column 'w'
        help: its columns are: id, v, tags
        table t: the column 'tags' is text[] there, not List(Utf8)
        help: declare it as TEXT: only JSON is read into lists and structs
        table t: the table 't' tells of old rows only their key, and none is declared
        help: declare a PRIMARY KEY, or run ALTER TABLE "t" REPLICA IDENTITY FULL;
        table t: the key of 't' has 'v', of old rows the server tells (id)
        help: declare the PRIMARY KEY of the table, or run ALTER TABLE "t" REPLICA IDENTITY FULL;
        table t: the key of 't' has 'id', of old rows the server tells nothing
        help: declare the PRIMARY KEY of the table, or run ALTER TABLE "u" REPLICA IDENTITY FULL;
        table t: there is no publication 'headwater_t' in SERVER
        help: run CREATE PUBLICATION "headwater_t" FOR TABLE "t" WITH (publish_via_partition_root = true);
        table t: the publication 'empty' does not have the table 't'
        help: run ALTER PUBLICATION "empty" ADD TABLE "t";
        table t: the publication 'few' leaves out insertions, updates or deletions
        help: run ALTER PUBLICATION "few" SET (publish = 'insert, update, delete, truncate');
        table t: there is no replication slot 'headwater_p_t' in SERVER
        help: run SELECT pg_create_logical_replication_slot('headwater_p_t', 'pgoutput');
        table t: PostgreSQL at SERVER: must be superuser or replication role to use replication slots
        help: run ALTER ROLE … REPLICATION; GRANT SELECT ON "t" TO …; only the owner of the table can make the publication
        table t: PostgreSQL at SERVER has wal_level = replica
        help: run ALTER SYSTEM SET wal_level = 'logical'; and restart the server
    "#]].assert_eq(&all);
}

#[tokio::test]
async fn what_cannot_be_followed_ends_with_the_way_out() {
    let server = server();
    server.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT, w TEXT)");
    let wide = columns(&[("id", DataType::Int64), ("v", DataType::Utf8), ("w", DataType::Utf8)]);
    let spec = declared(&server.url(), &wide, &[0], &[]).expect("fits");
    let start = async || {
        let mut source = spec.open(&context(0, 1)).await.expect("opens");
        drain(source.as_mut(), 10, &mut Table::new(), true).await.expect("reads");
        source
    };
    let mut all = String::new();
    let mut note = |error: Error| all.push_str(&format!("{:?}: {error}\n", error.kind()));
    // Long values that stay as they are.
    let long = "INSERT INTO t SELECT 1, 'a', string_agg(md5(n::text), '') FROM generate_series(1, 400) n";
    server.sql(long);
    let mut source = start().await;
    server.sql("UPDATE t SET v = 'b'");
    note(drain(source.as_mut(), 10, &mut Table::new(), true).await.expect_err("is not told"));
    server.sql("ALTER TABLE t REPLICA IDENTITY FULL");
    let (mut source, mut table) = (start().await, Table::new());
    server.sql("UPDATE t SET v = 'c'");
    drain(source.as_mut(), 10, &mut table, true).await.expect("is told now");
    assert_eq!(table, there(&server));
    server.sql("TRUNCATE t");
    note(drain(source.as_mut(), 10, &mut Table::new(), true).await.expect_err("was truncated"));
    let mut source = start().await;
    server.sql("ALTER TABLE t DROP COLUMN w; INSERT INTO t VALUES (2, 'x')");
    note(drain(source.as_mut(), 10, &mut Table::new(), true).await.expect_err("has another column"));
    server.sql("ALTER TABLE t ADD COLUMN w TEXT");
    let source = start().await;
    let position = source.position();
    drop(source);
    server.sql("DROP PUBLICATION headwater_t");
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    note(source.seek(&position).await.expect_err("has no publication"));
    server.sql("SELECT pg_drop_replication_slot('headwater_p_t')");
    note(source.seek(&position).await.expect_err("has no slot"));
    server.sql("SELECT pg_create_logical_replication_slot('headwater_p_t', 'test_decoding')");
    note(source.seek(&position).await.expect_err("is of another kind"));
    let masked = |word: &str| {
        let bare = word.trim_matches(['\n', ':', ',']);
        let is_hex = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_place = bare.split_once('/').is_some_and(|(high, low)| is_hex(high) && is_hex(low));
        if is_place { word.replace(bare, "LSN") } else { word.to_owned() }
    };
    let mask = |text: &str| {
        text.split_inclusive([' ', '\n'])
            .map(|word| {
                let end = word.trim_end_matches([' ', '\n']).len();
                masked(&word[..end]) + &word[end..]
            })
            .collect::<String>()
    };
    let folder = server.folder().display().to_string();
    expect![[r#"
        Data: table t: the table 't' does not tell long values that a change leaves as they are
        help: run ALTER TABLE "t" REPLICA IDENTITY FULL; and start the pipeline anew, without its checkpoint; or leave the column out
        Data: table t: the table 't' was truncated at LSN: nobody says which rows are gone
        help: start the pipeline anew, without its checkpoint, and use DELETE instead of TRUNCATE from now on
        Conflict: table t: the table 't' has no column 'w' any more, from LSN on
        help: its columns are: id, v
        NotFound: table t: there is no publication 'headwater_t' in SERVER
        help: run CREATE PUBLICATION "headwater_t" FOR TABLE "t" WITH (publish_via_partition_root = true);
        Data: table t: the slot 'headwater_p_t' is gone, and with it the changes after LSN
        help: start the pipeline anew, without its checkpoint: the table is then copied again
        Conflict: table t: the slot 'headwater_p_t' is of plugin test_decoding and database postgres
        help: name another one with the option slot
    "#]].assert_eq(&mask(&all.replace(&folder, "SERVER")).replace("SERVER:5432/postgres", "SERVER"));
}

#[tokio::test]
async fn values_that_do_not_fit_are_dead_letters_and_take_their_old_row_along() {
    let server = server();
    server.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, '10'), (2, 'x'), (3, NULL)");
    let numbers = columns(&[("id", DataType::Int64), ("v", DataType::Int64)]);
    let spec = declared(&server.url(), &numbers, &[0], &[]).expect("fits");
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    let mut seen = String::new();
    let mut read = async |seen: &mut String| loop {
        match source.poll(10).await.expect("reads") {
            Polled::Batch(polled) => {
                for row in 0..polled.batch.n_rows() {
                    let rows = &polled.batch.rows;
                    let show = |name: &str| {
                        let side = rows.column_by_name(name).expect("is there").as_struct();
                        let of = |column: usize| {
                            let column = side.column(column).as_primitive::<Int64Type>();
                            if column.is_valid(row) { column.value(row).to_string() } else { "_".to_owned() }
                        };
                        if side.is_valid(row) { format!("({}, {})", of(0), of(1)) } else { "-".to_owned() }
                    };
                    let op = rows.column_by_name("op").expect("is there").as_string::<i32>().value(row).to_owned();
                    seen.push_str(&format!("{op} {} {}\n", show("before"), show("after")));
                }
                for letter in polled.dead_letters {
                    seen.push_str(&format!("{} {} {}\n", letter.reason, letter.message, letter.payload));
                }
            }
            Polled::Idle | Polled::End => return,
        }
    };
    read(&mut seen).await;
    for sql in [
        "UPDATE t SET v = 'y' WHERE id = 1",
        "UPDATE t SET v = '5' WHERE id = 2",
        "UPDATE t SET id = 4 WHERE id = 3",
        "DELETE FROM t",
    ] {
        server.sql(sql);
        read(&mut seen).await;
    }
    expect![[r#"
        r - (1, 10)
        r - (3, _)
        malformed_field the value 'x' of the column 'v' is no Int64 {"id":"2","v":"x"}
        d (1, _) -
        malformed_field the value 'y' of the column 'v' is no Int64 {"id":"1","v":"y"}
        u (2, _) (2, 5)
        u (3, _) (4, _)
        d (1, _) -
        d (2, _) -
        d (4, _) -
    "#]]
    .assert_eq(&seen);
}
