//! What is bad: lines, headers, files.

use super::*;
use expect_test::{Expect, expect};
use headwater_core::Reason;

fn shown(letters: &[DeadLetter]) -> String {
    let line = |letter: &DeadLetter| {
        format!("{} {} [{}] {} | {}\n", letter.position, letter.reason, letter.path, letter.message, letter.payload)
    };
    letters.iter().map(line).collect()
}

async fn check(name: &str, text: &[u8], more: &[(&str, &str)], ids: &[i64], letters: Expect) {
    let dir = tempfile::tempdir().expect("makes a folder");
    std::fs::write(dir.path().join(name), text).expect("writes");
    let pairs: Vec<(&str, &str)> = more.iter().copied().chain([("path", name)]).collect();
    let (read, dead) = read_all(&SingleFile, &table(dir.path(), schema(), &pairs)).await;
    assert_eq!(read.column(0).as_primitive::<arrow::datatypes::Int64Type>().values(), ids);
    letters.assert_eq(&shown(&dead));
}

#[tokio::test]
async fn each_bad_json_line_is_one_dead_letter() {
    let text = b"{\"id\":1}\n{\"id\":\"x\"}\nnot json\n{\"id\":2}{\"id\":3}\n{\"id\":4,\n\"name\":\"a\"}\n\n\
        {\"name\":\"b\"}\n[5]\n{\"id\":6,\"name\":\"\xff\"}\n{\"id\":7,\"x\":{}}\n{\"id\":8,\"new\":[1]}\nnull\n{\"id\":9}";
    check(
        "b.json",
        text,
        &[],
        &[1, 8, 9],
        expect![[r#"
            b.json:9 malformed_field [id] line 2: the field 'id' is not a Int64: Json error: whilst decoding field 'id': failed to parse "x" as Int64 | {"id":"x"}
            b.json:20 undecodable [] line 3: the line is not a JSON object: expected ident at line 1 column 2 | not json
            b.json:29 undecodable [] line 4: the line is not a JSON object: trailing characters at line 1 column 9 | {"id":2}{"id":3}
            b.json:46 undecodable [] line 5: the line is not a JSON object: EOF while parsing a value at line 1 column 8 | {"id":4,
            b.json:55 undecodable [] line 6: the line is not a JSON object: trailing characters at line 1 column 7 | "name":"a"}
            b.json:68 missing_field [id] line 8: the field 'id' is missing | {"name":"b"}
            b.json:81 undecodable [] line 9: the line is JSON, but not an object | [5]
            b.json:85 undecodable [] line 10: the line is not a JSON object: invalid unicode code point at line 1 column 17 | {"id":6,"name":"�"}
            b.json:105 malformed_field [x] line 11: the field 'x' is not a Float64: Json error: whilst decoding field 'x': expected primitive got {} | {"id":7,"x":{}}
            b.json:140 undecodable [] line 13: the line is JSON, but not an object | null
        "#]],
    )
    .await;
}

#[tokio::test]
async fn each_bad_csv_record_is_one_dead_letter() {
    let text = b"x, name ,extra,id\n0.5,a,,1\n0.5,b,,\n0.5,b,,x\n1,2\n,\"two\nlines\",,2\n\n\xff,,,3\n,,,4";
    check("b.csv", text, &[], &[1, 2, 4], expect![[r#"
        b.csv:27 missing_field [id] line 3: the field 'id' is empty | 0.5,b,,
        b.csv:35 malformed_field [id] line 4: the field 'id' is not a Int64: Parser error: Error while parsing value 'x' as type 'Int64' for column 3 at line 0. Row data: '[0.5,b,,x]' | 0.5,b,,x
        b.csv:44 undecodable [] line 5: 2 fields where 4 are expected | 1,2
        b.csv:65 undecodable [] line 9: the record is not UTF-8 text | �,,,3
    "#]]).await;
}

#[tokio::test]
async fn a_quote_that_is_never_closed_costs_one_line() {
    check(
        "q.csv",
        b"id,name,x\n1,\"open,\n2,b,\n3,c,\n",
        &[],
        &[2, 3],
        expect![[r#"
        q.csv:10 undecodable [] line 2: a quoted field is never closed | 1,"open,
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_line_beyond_the_limit_is_skipped_and_not_held() {
    let mut text = b"{\"id\":1}\n{\"name\":\"".to_vec();
    text.resize(3 << 20, b'x');
    text.extend_from_slice(b"\"}\n{\"id\":2}\n");
    let dir = tempfile::tempdir().expect("makes a folder");
    std::fs::write(dir.path().join("l.json"), &text).expect("writes");
    let (read, dead) = read_all(&SingleFile, &table(dir.path(), schema(), &[("path", "l.json")])).await;
    assert_eq!(read.num_rows(), 2);
    assert_eq!((dead.len(), dead[0].reason, dead[0].position.as_str()), (1, Reason::TooLong, "l.json:9"));
    assert!(dead[0].payload.ends_with(&format!("… [cut: {} bytes in all]", (3 << 20) + 2 - 9)), "{}", dead[0].message);
    assert!(dead[0].payload.len() < 2048);
}

#[tokio::test]
async fn bad_data_can_fail_or_be_dropped() {
    let dir = tempfile::tempdir().expect("makes a folder");
    std::fs::write(dir.path().join("b.json"), "{\"id\":1}\nbad\n").expect("writes");
    let table = |bad| table(dir.path(), schema(), &[("path", "b.json"), ("bad_data", bad)]);
    let (read, dead) = read_all(&SingleFile, &table("drop")).await;
    assert_eq!((read.num_rows(), dead.len()), (1, 0));
    let spec = SingleFile.source(&table("fail")).expect("fits");
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    let error = source.poll(9).await.expect_err("fails");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().starts_with("table t: b.json:9: line 2:"), "{error}");
}

async fn failure(connector: &dyn Connector, dir: &Path, pairs: &[(&str, &str)]) -> (ErrorKind, String) {
    let error = match connector.source(&table(dir, schema(), pairs)) {
        Err(error) => error,
        Ok(spec) => match spec.open(&context(0, 1)).await {
            Err(error) => error,
            Ok(mut source) => loop {
                if let Err(error) = source.poll(100).await {
                    break error;
                }
            },
        },
    };
    (error.kind(), error.to_string().replace(&dir.display().to_string(), "DIR"))
}

#[tokio::test]
async fn what_is_missing_or_corrupt_is_named() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let dir = dir.path();
    let (kind, message) = failure(&SingleFile, dir, &[("path", "no.csv")]).await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.starts_with("table t: cannot read 'DIR/no.csv': "), "{message}");
    let (kind, message) = failure(&Filesystem, dir, &[("path", "*.csv")]).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::NotFound, "table t: no file matches: 'DIR/*.csv'"));
    std::fs::write(dir.join("p.parquet"), "PAR1 but no more").expect("writes");
    let (kind, message) = failure(&Parquet, dir, &[("path", "p.parquet")]).await;
    assert_eq!(kind, ErrorKind::Data);
    assert!(message.contains("'DIR/p.parquet' is not a sound Parquet file"), "{message}");
    let name = write(dir, "avro", &rows(0..100));
    let whole = std::fs::read(dir.join(&name)).expect("is there");
    for n_bytes in [3, 30, whole.len() / 2, whole.len() - 5] {
        std::fs::write(dir.join(&name), &whole[..n_bytes]).expect("writes");
        let (kind, message) = failure(&SingleFile, dir, &[("path", &name)]).await;
        assert_eq!(kind, ErrorKind::Data, "{n_bytes}: {message}");
        assert!(message.contains("'DIR/f.avro' is not a sound Avro file"), "{message}");
    }
    let packed = gzip(&json_text(&rows(0..2000)));
    std::fs::write(dir.join("z.json.gz"), &packed[..packed.len() - 20]).expect("writes");
    let (kind, message) = failure(&SingleFile, dir, &[("path", "z.json.gz")]).await;
    assert_eq!(kind, ErrorKind::Data);
    assert!(message.contains("cannot read 'DIR/z.json.gz'"), "{message}");
    std::fs::write(dir.join("h.csv"), "name,x\na,1\n").expect("writes");
    let (kind, message) = failure(&SingleFile, dir, &[("path", "h.csv")]).await;
    let expected = "table t: 'h.csv': the header has no column 'id'\nhelp: it has: name, x";
    assert_eq!((kind, message.as_str()), (ErrorKind::Data, expected));
    let (kind, message) = failure(&SingleFile, dir, &[("path", "what")]).await;
    assert_eq!((kind, message.lines().next()), (ErrorKind::Invalid, Some("the format of 'what' is not known")));
}
