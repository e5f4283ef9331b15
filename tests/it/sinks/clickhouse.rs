//! ClickHouse: the rules of all sinks, types, refused rows, differences, what comes a second time.

use super::conformance::{self, Server, Store};
use super::{Process, batch, epoch, prepared, schema, spec, table};
use crate::servers::ClickHouse;
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, IntervalMonthDayNano, Schema, SchemaRef, i256};
use expect_test::expect;
use headwater_core::{Batch, Epoch, Error, ErrorKind, Reason, Sink};
use std::sync::Arc;

impl Store for ClickHouse {
    fn connector(&self) -> &'static str {
        "clickhouse"
    }

    fn options(&self, table: &str) -> Vec<(&'static str, String)> {
        vec![("url", self.url()), ("password", "s3cret".to_owned()), ("table", table.to_owned())]
    }

    fn rows(&self, table: &str) -> Vec<String> {
        let keyed = self.sql(&format!(
            "SELECT count() FROM system.columns WHERE table = '{table}' AND name = '_headwater_deleted'"
        ));
        let last = if keyed == ["1"] { " FINAL" } else { "" };
        let rows =
            self.sql(&format!("SELECT [toString(id), ifNull(name, '')] FROM {table}{last} FORMAT JSONCompactEachRow"));
        let mut rows: Vec<String> = rows
            .iter()
            .map(|row| serde_json::from_str::<Vec<Vec<String>>>(row).expect("JSON").concat().join("|"))
            .collect();
        rows.sort_unstable();
        rows
    }

    fn server(&mut self) -> Option<&mut dyn Server> {
        Some(self)
    }
}

impl Server for ClickHouse {
    fn stop(&mut self) {
        Self::stop(self);
    }

    fn again(&mut self) {
        Self::again(self);
    }

    fn shown(&self) -> String {
        format!("{}/default", self.url().trim_start_matches("http://"))
    }
}

async fn open(
    server: &ClickHouse,
    process: &Process,
    schema: SchemaRef,
    key: &[usize],
    options: &[(&'static str, &str)],
    restored: Option<u64>,
) -> Result<Box<dyn Sink>, Error> {
    let mut all = server.options("t");
    all.extend(options.iter().map(|(name, value)| (*name, (*value).to_owned())));
    spec("clickhouse", &table("t", schema, key, &all))?.open(&process.context(restored, 0, 1)).await
}

#[tokio::test]
async fn it_keeps_the_rules_of_all_sinks() {
    conformance::check(&mut ClickHouse::start()).await;
}

/// One server for what does not stop it: to start one takes a second.
#[tokio::test]
async fn it_keeps_its_own_rules() {
    let server = ClickHouse::start();
    a_block_that_comes_a_second_time_is_dropped_by_the_server(&server).await;
    versions_grow_over_runs(&server).await;
    large_epochs_are_several_blocks(&server).await;
    refused_rows_are_found_before_the_commit(&server).await;
    every_type_arrives(&server).await;
    a_table_that_does_not_fit_is_a_conflict(&server).await;
    a_closed_way_says_what_to_do(&server).await;
}

async fn a_block_that_comes_a_second_time_is_dropped_by_the_server(server: &ClickHouse) {
    let process = Process::new();
    let mut sink = open(server, &process, schema(), &[], &[], None).await.expect("opens");
    let token = prepared(&mut sink, 1, vec![batch(&[(1, Some("a"), 1)])]).await;
    // Killed between the answer of the server and the note that it was committed.
    let kept: Vec<(std::path::PathBuf, Vec<u8>)> = std::fs::read_dir(process.folder(0))
        .expect("the spool")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.clone(), std::fs::read(path).expect("reads")))
        .collect();
    assert_eq!(kept.len(), 1);
    sink.commit(Epoch(1), &token).await.expect("commits");
    std::fs::remove_file(process.folder(0).join("committed")).expect("the note");
    std::fs::write(&kept[0].0, &kept[0].1).expect("writes");
    let mut sink = open(server, &process, schema(), &[], &[], Some(1)).await.expect("opens");
    sink.commit(Epoch(1), &token).await.expect("commits again");
    assert_eq!(server.rows("t"), ["1|a"]);
    // The same rows in another epoch are other rows.
    epoch(&mut sink, 2, vec![batch(&[(1, Some("a"), 1)])]).await;
    assert_eq!(server.rows("t"), ["1|a", "1|a"]);
    let token = prepared(&mut sink, 3, vec![batch(&[(3, None, 1)])]).await;
    for entry in std::fs::read_dir(process.folder(0)).expect("the spool") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("is removed");
    }
    let error = sink.commit(Epoch(3), &token).await.expect_err("the block is gone");
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    server.sql("DROP TABLE t");
}

async fn versions_grow_over_runs(server: &ClickHouse) {
    let process = Process::new();
    for name in ["first", "second", "third"] {
        // The clock stands still, and each run begins with epoch 1.
        let mut sink = open(server, &process, schema(), &[0], &[], None).await.expect("opens");
        epoch(&mut sink, 1, vec![batch(&[(1, Some(name), 1), (2, Some(name), 1)])]).await;
        assert_eq!(server.rows("t"), [format!("1|{name}"), format!("2|{name}")]);
    }
    let mut sink = open(server, &process, schema(), &[0], &[], None).await.expect("opens");
    epoch(&mut sink, 1, vec![batch(&[(1, Some("third"), -1)])]).await;
    assert_eq!(server.rows("t"), ["2|third"]);
    server.sql("DROP TABLE t");
}

async fn large_epochs_are_several_blocks(server: &ClickHouse) {
    let process = Process::new();
    let options = [("block_rows", "100"), ("compression", "none"), ("order_by", "id"), ("partition_by", "id % 2")];
    let mut sink = open(server, &process, schema(), &[], &options, None).await.expect("opens");
    let rows: Vec<(i64, Option<&str>, i64)> = (0..250).map(|id| (id, Some("x"), 1)).collect();
    let token = prepared(&mut sink, 1, vec![batch(&rows), batch(&rows)]).await;
    assert_eq!(token.0["blocks"].as_array().expect("a list").len(), 6);
    sink.commit(Epoch(1), &token).await.expect("commits");
    assert_eq!(server.rows("t").len(), 500);
    server.sql("DROP TABLE t");
}

async fn refused_rows_are_found_before_the_commit(server: &ClickHouse) {
    server.sql(
        "CREATE TABLE t (id Int64, name Enum('a', 'b'), CONSTRAINT small CHECK id < 1000) ENGINE = MergeTree \
         ORDER BY id SETTINGS non_replicated_deduplication_window = 100",
    );
    let process = Process::new();
    let mut sink = open(server, &process, schema(), &[], &[], None).await.expect("opens");
    let mut rows: Vec<(i64, Option<&str>, i64)> = (0..100).map(|id| (id, Some("a"), 1)).collect();
    rows[17] = (17, Some("c"), 1);
    rows[18] = (1000, Some("b"), 1);
    rows[99] = (99, None, 1);
    let token = prepared(&mut sink, 1, vec![batch(&rows)]).await;
    let letters = sink.take_rejected();
    assert!(letters.iter().all(|letter| letter.reason == Reason::Rejected));
    let told: Vec<String> = letters.iter().map(|letter| format!("{} {}", letter.payload, letter.message)).collect();
    expect![[r#"
        {"id":17,"name":"c"} Unknown element 'c' for enum, maybe you meant: ['a']: while converting column `name` from type Nullable(String) to type Enum8('a' = 1, 'b' = 2)
        {"id":1000,"name":"b"} Constraint `small` for table default.t is violated at row 1. Expression: (id < 1000). Column values: id = 1000. (VIOLATED_CONSTRAINT)
        {"id":99,"name":null} Cannot convert NULL value to non-Nullable type: while converting column `name` from type Nullable(String) to type Enum8('a' = 1, 'b' = 2)"#]].assert_eq(&told.join("\n"));
    sink.commit(Epoch(1), &token).await.expect("commits");
    assert_eq!(server.rows("t").len(), 97);
    server.sql("DROP TABLE t");
}

/// Columns of every type, with their extreme values.
fn columns_of_every_type() -> Vec<ArrayRef> {
    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
    let item = || Arc::new(Field::new_list_field(DataType::Int32, true));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let lists = ListArray::new(item(), OffsetBuffer::from_lengths([2, 0, 1]), numbers.clone(), None);
    let fields = Fields::from(vec![Field::new("n", DataType::Int32, true), Field::new("s", DataType::Utf8, true)]);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["å\"", "", "z"]));
    let structs = StructArray::new(fields, vec![numbers, texts], Some(vec![true, true, false].into()));
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(i64::MAX);
    map.append(true).expect("appends");
    let wide = Decimal256Array::from(vec![i256::from_i128(10).checked_pow(75), Some(i256::MINUS_ONE)]);
    let decimal =
        |values: Vec<i128>, p, s| Arc::new(Decimal128Array::from(values).with_precision_and_scale(p, s).expect("fits"));
    vec![
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Int8Array::from(vec![i8::MIN, i8::MAX])),
        Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])),
        Arc::new(UInt64Array::from(vec![u64::MIN, u64::MAX])),
        Arc::new(Float32Array::from(vec![f32::MIN, f32::MAX, f32::NAN])),
        Arc::new(Float64Array::from(vec![f64::MIN, f64::INFINITY, 0.1])),
        decimal(vec![1234, -5], 11, 2),
        decimal(vec![10_i128.pow(38) - 1, 1 - 10_i128.pow(38)], 38, 38),
        decimal(vec![12, -1], 2, -3),
        Arc::new(wide.with_precision_and_scale(76, 10).expect("fits")),
        Arc::new(TimestampNanosecondArray::from(vec![Some(1_500_000_001), Some(-1), None])),
        Arc::new(TimestampMillisecondArray::from(vec![1]).with_timezone("+02:00")),
        Arc::new(Date32Array::from(vec![0, -1, 100_000])),
        Arc::new(Date64Array::from(vec![86_400_000])),
        Arc::new(Time64NanosecondArray::from(vec![86_399_999_999_999])),
        Arc::new(DurationMillisecondArray::from(vec![1, -1])),
        Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(14, -3, 1_000)])),
        Arc::new(StringArray::from(vec![Some(""), Some("å\u{1F600}\n\\N\0"), None])),
        Arc::new(StringViewArray::from(vec!["a view that is longer than twelve"])),
        Arc::new(words),
        Arc::new(BinaryArray::from_vec(vec![b"", b"\x00ab"])),
        Arc::new(FixedSizeBinaryArray::try_from_iter([b"ab"].iter()).expect("two")),
        Arc::new(lists),
        Arc::new(structs),
        Arc::new(map.finish()),
        Arc::new(NullArray::new(1)),
    ]
}

async fn every_type_arrives(server: &ClickHouse) {
    let columns = columns_of_every_type();
    let n_rows = 3;
    let columns = columns.iter().map(|column| {
        let nulls = new_null_array(column.data_type(), n_rows - column.len());
        arrow::compute::concat(&[column.as_ref(), nulls.as_ref()]).expect("one type")
    });
    let columns: Vec<ArrayRef> = columns.collect();
    let fields =
        columns.iter().enumerate().map(|(at, column)| Field::new(format!("c{at}"), column.data_type().clone(), true));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let n_columns = columns.len();
    let rows = RecordBatch::try_new(schema.clone(), columns).expect("fits");
    let process = Process::new();
    let mut sink = open(server, &process, schema, &[], &[], None).await.expect("opens");
    epoch(&mut sink, 1, vec![Batch::append_only(rows)]).await;
    let shown = (0..n_columns).map(|at| {
        let type_name = server.sql(&format!("SELECT type FROM system.columns WHERE table = 't' AND name = 'c{at}'"));
        let values = server.sql(&format!("SELECT toString(c{at}) FROM t"));
        format!("{}: {}", type_name.join(""), values.join(" ; "))
    });
    expect![[r#"
        Nullable(Bool): true ; false ; \N
        Nullable(Int8): -128 ; 127 ; \N
        Nullable(Int64): -9223372036854775808 ; 9223372036854775807 ; \N
        Nullable(UInt64): 0 ; 18446744073709551615 ; \N
        Nullable(Float32): -3.4028235e38 ; 3.4028235e38 ; nan
        Nullable(Float64): -1.7976931348623157e308 ; inf ; 0.1
        Nullable(Decimal(11, 2)): 12.34 ; -0.05 ; \N
        Nullable(Decimal(38, 38)): 0.99999999999999999999999999999999999999 ; -0.99999999999999999999999999999999999999 ; \N
        Nullable(Decimal(5, 0)): 12000 ; -1000 ; \N
        Nullable(Decimal(76, 10)): 100000000000000000000000000000000000000000000000000000000000000000 ; -0.0000000001 ; \N
        Nullable(DateTime64(9, \'UTC\')): 1970-01-01 00:00:01.500000001 ; 1969-12-31 23:59:59.999999999 ; \N
        Nullable(DateTime64(3, \'UTC\')): 1970-01-01 00:00:00.001 ; \N ; \N
        Nullable(Date32): 1970-01-01 ; 1969-12-31 ; 2243-10-17
        Nullable(Date32): 1970-01-02 ; \N ; \N
        Nullable(Time64(9)): 23:59:59.999999999 ; \N ; \N
        Nullable(IntervalMillisecond): 1 ; -1 ; \N
        Nullable(String): 14 mons -3 days 0.000001000 secs ; \N ; \N
        Nullable(String):  ; å😀\n\\N\0 ; \N
        Nullable(String): a view that is longer than twelve ; \N ; \N
        Nullable(String): a ; \N ; b
        Nullable(String):  ; \0ab ; \N
        Nullable(FixedString(2)): ab ; \N ; \N
        Array(Nullable(Int32)): [1,NULL] ; [] ; [3]
        Nullable(String): {"n":1,"s":"å\\""} ; {"n":null,"s":""} ; \N
        Map(String, Nullable(Int64)): {\'k\':9223372036854775807} ; {} ; {}
        Nullable(String): \N ; \N ; \N"#]].assert_eq(&shown.collect::<Vec<_>>().join("\n"));
    server.sql("DROP TABLE t");
}

async fn a_table_that_does_not_fit_is_a_conflict(server: &ClickHouse) {
    let process = Process::new();
    let difference = async |create: &str, key: &[usize]| {
        server.sql(create);
        let opened = open(server, &process, schema(), key, &[], None).await;
        server.sql("DROP TABLE t");
        match opened {
            Ok(_) => "fits".to_owned(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                error.to_string().replace(&server.shown(), "HOST")
            }
        }
    };
    let window = "SETTINGS non_replicated_deduplication_window = 10";
    let fits = format!(
        "CREATE TABLE t (id Int64, name LowCardinality(String), x UInt8) ENGINE = MergeTree ORDER BY x {window}"
    );
    assert_eq!(difference(&fits, &[]).await, "fits");
    expect![[r#"
        the table 't' in HOST does not fit: 'id' is Int8 there, Int64 is needed; it has no column 'name' (Nullable(String)); it does not remember blocks, so one that is sent again would be there twice
        help: change the declaration, or name another table with table = '…', or run at the server: ALTER TABLE `default`.`t` MODIFY COLUMN `id` Int64; ALTER TABLE `default`.`t` ADD COLUMN `name` Nullable(String); ALTER TABLE `default`.`t` MODIFY SETTING non_replicated_deduplication_window = 1000;"#]].assert_eq(&difference("CREATE TABLE t (id Int8) ENGINE = MergeTree ORDER BY id", &[]).await);
    expect![[r#"
        the table 't' in HOST does not fit: its engine is MergeTree, ReplacingMergeTree(_headwater_version, _headwater_deleted) is needed; it has no column '_headwater_version' (UInt64); it has no column '_headwater_deleted' (UInt8); it is ordered by (name), (id) is needed
        help: change the declaration, or name another table with table = '…'"#]].assert_eq(&difference(&format!("CREATE TABLE t (id Int64, name Nullable(String)) ENGINE = MergeTree ORDER BY name {window}, allow_nullable_key = 1"), &[0]).await);
    expect![[r#"
        the table 't' in HOST does not fit: its engine is Memory, one of the MergeTree family is needed
        help: change the declaration, or name another table with table = '…'"#]]
    .assert_eq(&difference("CREATE TABLE t (id Int64, name Nullable(String)) ENGINE = Memory", &[]).await);
    // The statement of the help is the way out.
    server.sql("CREATE TABLE t (id Int64, name Nullable(String)) ENGINE = MergeTree ORDER BY id");
    let error = open(server, &process, schema(), &[], &[], None).await.map(|_| ()).expect_err("does not remember");
    let help = error.help().expect("there is one");
    server.sql(help[help.find("ALTER").expect("a statement")..].trim_end_matches(';'));
    open(server, &process, schema(), &[], &[], None).await.expect("opens");
    server.sql("DROP TABLE t");
}

async fn a_closed_way_says_what_to_do(server: &ClickHouse) {
    let reach = async |options: &[(&'static str, &str)]| {
        let mut all = vec![("url", server.url())];
        all.extend(options.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let spec = spec("clickhouse", &table("t", schema(), &[], &all))?;
        spec.open(&Process::new().context(None, 0, 1)).await.map(|_| ())
    };
    let error = reach(&[("password", "wrong-s3cret")]).await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.message().contains("Authentication failed") && !error.to_string().contains("s3cret"), "{error}");
    let error = reach(&[("password", "s3cret"), ("database", "nowhere")]).await.expect_err("is not there");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let error = reach(&[("password", "s3cret"), ("engine", "NoEngine")]).await.expect_err("is none");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    for (name, value) in [("url", "clickhouse://h"), ("block_rows", "0"), ("compression", "zip")] {
        let definition = table("t", schema(), &[], &[("url", server.url())]);
        let mut definition = definition;
        definition.options.set(name, value);
        let error = spec("clickhouse", &definition).map(|_| ()).expect_err("is bad");
        assert!(error.message().contains(name) && error.help().is_some(), "{error}");
    }
}
