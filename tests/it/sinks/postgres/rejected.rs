//! Rows that the server refuses: they become dead letters, and all others arrive.

use super::*;
use headwater_core::{DeadLetter, Reason};

fn told(letters: &[DeadLetter]) -> Vec<String> {
    assert!(letters.iter().all(|letter| letter.reason == Reason::Rejected && letter.source == "postgres table 't'"));
    let positions: std::collections::BTreeSet<&str> = letters.iter().map(|letter| letter.position.as_str()).collect();
    assert_eq!(positions.len(), letters.len(), "positions name rows");
    letters.iter().map(|letter| format!("{} {}", letter.payload, letter.message)).collect()
}

#[tokio::test]
async fn values_and_checks_are_found_before_the_commit() {
    let server = Postgres::start();
    server.sql(
        "CREATE TABLE t (id smallint CHECK (id <> 7), name varchar(3) NOT NULL, extra int NOT NULL DEFAULT 1, \
         CONSTRAINT small CHECK (id + extra < 1000))",
    );
    let mut sink = try_open(&server, &[], &[], None).await.expect("opens");
    let mut many: Vec<(i64, Option<&str>, i64)> = (100..400).map(|id| (id, Some("ok"), 1)).collect();
    many[3] = (7, Some("chk"), 1);
    many[150] = (1, Some("long"), 1);
    many[299] = (2, None, 1);
    many[0] = (40_000, Some("big"), 1);
    many[1] = (3, Some("a\0"), 1);
    many[2] = (999, Some("ext"), 1);
    let token = prepared(&mut sink, 1, vec![batch(&many)]).await;
    let mut letters = told(&sink.take_rejected());
    letters.sort();
    assert!(sink.take_rejected().is_empty());
    expect![[r#"
        {"id":1,"name":"long"} value too long for type character varying(3)
        {"id":2,"name":null} null value in column "name" of relation "STAGING" violates not-null constraint
        {"id":3,"name":"a\u0000"} PostgreSQL's text cannot hold the character U+0000
        {"id":40000,"name":"big"} 40000 is out of range for type smallint
        {"id":7,"name":"chk"} new row for relation "STAGING" violates check constraint "t_id_check"
        {"id":999,"name":"ext"} new row for relation "t" violates check constraint "small""#]]
    .assert_eq(&letters.join("\n").replace(token.0["part"]["staging"].as_str().expect("a name"), "STAGING"));
    sink.commit(Epoch(1), &token).await.expect("commits");
    assert_eq!(rows(&server).len(), 294);
}

#[tokio::test]
async fn references_and_other_unique_indexes_are_found_before_the_commit() {
    let server = Postgres::start();
    server.sql(
        "CREATE TABLE names (name text PRIMARY KEY); INSERT INTO names VALUES ('a'), ('b'), ('c'), ('x'); \
         CREATE TABLE t (id bigint PRIMARY KEY, name text UNIQUE REFERENCES names DEFERRABLE INITIALLY DEFERRED)",
    );
    let mut sink = try_open(&server, &[0], &[], None).await.expect("opens");
    let token = prepared(
        &mut sink,
        1,
        vec![batch(&[(1, Some("a"), 1), (2, Some("b"), 1), (3, Some("nobody"), 1), (4, Some("a"), 1)])],
    )
    .await;
    let first = told(&sink.take_rejected());
    expect![[r#"
        {"id":3,"name":"nobody"} insert or update on table "t" violates foreign key constraint "t_name_fkey" (Key (name)=(nobody) is not present in table "names".)
        {"id":4,"name":"a"} duplicate key value violates unique constraint "t_name_key" (Key (name)=(a) already exists.)"#]]
    .assert_eq(&first.join("\n"));
    sink.commit(Epoch(1), &token).await.expect("commits");
    assert_eq!(rows(&server), ["1|a", "2|b"]);
    // A name moves from one key to another within an epoch, in two pieces of rows that are taken back and brought.
    let moved = vec![batch(&[(1, Some("a"), -1), (1, Some("x"), 1), (5, Some("a"), 1), (3, Some("nobody"), -1)])];
    epoch(&mut sink, 2, moved).await;
    assert!(sink.take_rejected().is_empty());
    assert_eq!(rows(&server), ["1|x", "2|b", "5|a"]);
}

#[tokio::test]
async fn upserts_hand_refused_rows_out_as_well() {
    let server = Postgres::start();
    server.sql("CREATE TABLE t (id int PRIMARY KEY, name text UNIQUE CHECK (name <> ''))");
    let mut sink = try_open(&server, &[0], &[("delivery", "upsert")], None).await.expect("opens");
    sink.write(batch(&[(1, Some("a"), 1), (2, Some(""), 1), (3, Some("a"), 1), (4, Some("d"), 1)]))
        .await
        .expect("writes");
    sink.flush().await.expect("flushes");
    assert_eq!(told(&sink.take_rejected()).len(), 2);
    assert_eq!(rows(&server), ["1|a", "4|d"]);
}
