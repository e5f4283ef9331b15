//! Every type with its extreme values, into a table that the sink makes and back as the server's text.

use super::*;
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Fields, Int32Type, IntervalDayTime, IntervalMonthDayNano, i256};

/// Writes columns as one table and returns, for each, the type that was made and the values as the server prints them.
async fn stored(server: &Postgres, columns: Vec<ArrayRef>) -> String {
    let n_rows = columns.iter().map(|column| column.len()).max().expect("a column");
    let padded = columns.iter().map(|column| {
        let nulls = new_null_array(column.data_type(), n_rows - column.len());
        arrow::compute::concat(&[column.as_ref(), nulls.as_ref()]).expect("one type")
    });
    let padded: Vec<ArrayRef> = padded.collect();
    let fields =
        padded.iter().enumerate().map(|(at, column)| Field::new(format!("c{at}"), column.data_type().clone(), true));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    server.sql("DROP TABLE IF EXISTS t");
    let definition = table("t", schema.clone(), &[], &[("url", server.url())]);
    let spec = spec("postgres", &definition).expect("the options are right");
    let mut sink = spec.open(&Process::new().context(None, 0, 1)).await.expect("opens");
    let rows = RecordBatch::try_new(schema, padded).expect("fits");
    epoch(&mut sink, 1, vec![Batch::append_only(rows)]).await;
    let letters: Vec<String> =
        sink.take_rejected().iter().map(|letter| format!("{} {}", letter.payload, letter.message)).collect();
    assert!(letters.is_empty(), "{letters:?}");
    let mut shown = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let made = format!(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'c{at}'"
        );
        let values =
            format!("SELECT coalesce(to_json(c{at}::text)::text, 'null') FROM t ORDER BY ctid LIMIT {}", column.len());
        shown.push(format!("{}: {}", server.sql(&made).join(""), server.sql(&values).join(" ")));
    }
    shown.join("\n")
}

#[tokio::test]
async fn numbers_keep_their_extremes() {
    let server = Postgres::start();
    let decimal =
        |values: Vec<i128>, p, s| Arc::new(Decimal128Array::from(values).with_precision_and_scale(p, s).expect("fits"));
    let wide = Decimal256Array::from(vec![i256::from_i128(10).checked_pow(75), Some(i256::MINUS_ONE)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Int8Array::from(vec![i8::MIN, i8::MAX])),
        Arc::new(Int16Array::from(vec![i16::MIN, i16::MAX])),
        Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX])),
        Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, 0])),
        Arc::new(UInt8Array::from(vec![u8::MIN, u8::MAX])),
        Arc::new(UInt16Array::from(vec![u16::MIN, u16::MAX])),
        Arc::new(UInt32Array::from(vec![u32::MIN, u32::MAX])),
        Arc::new(UInt64Array::from(vec![u64::MIN, u64::MAX])),
        Arc::new(Float32Array::from(vec![f32::MIN, f32::MAX, f32::MIN_POSITIVE, f32::NAN])),
        Arc::new(Float64Array::from(vec![f64::MIN, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.1])),
        decimal(vec![1234, -5, 0, 10_i128.pow(11) - 1], 11, 2),
        decimal(vec![10_i128.pow(38) - 1, 1 - 10_i128.pow(38)], 38, 38),
        decimal(vec![12, -1], 2, -3),
        Arc::new(wide.with_precision_and_scale(76, 10).expect("fits")),
    ];
    expect![[r#"
        boolean: "true" "false" null
        smallint: "-128" "127"
        smallint: "-32768" "32767"
        integer: "-2147483648" "2147483647"
        bigint: "-9223372036854775808" "9223372036854775807" "0"
        smallint: "0" "255"
        integer: "0" "65535"
        bigint: "0" "4294967295"
        numeric(20,0): "0" "18446744073709551615"
        real: "-3.4028235e+38" "3.4028235e+38" "1.1754944e-38" "NaN"
        double precision: "-1.7976931348623157e+308" "1.7976931348623157e+308" "Infinity" "-Infinity" "NaN" "0.1"
        numeric(11,2): "12.34" "-0.05" "0.00" "999999999.99"
        numeric(38,38): "0.99999999999999999999999999999999999999" "-0.99999999999999999999999999999999999999"
        numeric(5,0): "12000" "-1000"
        numeric(76,10): "100000000000000000000000000000000000000000000000000000000000000000.0000000000" "-0.0000000001""#]]
    .assert_eq(&stored(&server, columns).await);
}

#[tokio::test]
async fn times_keep_their_extremes() {
    let server = Postgres::start();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from(vec![
            Some(0),
            Some(1_500_000_001),
            Some(-1),
            Some(i64::MIN),
            Some(i64::MAX),
            None,
        ])),
        Arc::new(TimestampMillisecondArray::from(vec![1]).with_timezone("+02:00")),
        Arc::new(TimestampSecondArray::from(vec![-210_866_803_200, 9_224_318_015_999])),
        Arc::new(Date32Array::from(vec![0, -1, 2_932_896])),
        Arc::new(Date64Array::from(vec![86_400_000])),
        Arc::new(Time32SecondArray::from(vec![0, 86_399])),
        Arc::new(Time64NanosecondArray::from(vec![86_399_999_999_999])),
        Arc::new(DurationMillisecondArray::from(vec![1, -1])),
        Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(14, -3, 1_000)])),
        Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(1, 1)])),
        Arc::new(IntervalYearMonthArray::from(vec![13])),
    ];
    expect![[r#"
        timestamp without time zone: "1970-01-01 00:00:00" "1970-01-01 00:00:01.5" "1969-12-31 23:59:59.999999" "1677-09-21 00:12:43.145224" "2262-04-11 23:47:16.854775" null
        timestamp with time zone: "1970-01-01 00:00:00.001+00"
        timestamp without time zone: "4714-11-24 00:00:00 BC" "294276-12-31 23:59:59"
        date: "1970-01-01" "1969-12-31" "9999-12-31"
        date: "1970-01-02"
        time without time zone: "00:00:00" "23:59:59"
        time without time zone: "23:59:59.999999"
        interval: "00:00:00.001" "-00:00:00.001"
        interval: "1 year 2 mons -3 days +00:00:00.000001"
        interval: "1 day 00:00:00.001"
        interval: "1 year 1 mon""#]]
    .assert_eq(&stored(&server, columns).await);
}

#[tokio::test]
async fn texts_bytes_and_nested_values_arrive() {
    let server = Postgres::start();
    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    let item = || Arc::new(Field::new_list_field(DataType::Int32, true));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let lists = ListArray::new(item(), OffsetBuffer::from_lengths([2, 0, 1]), numbers.clone(), None);
    let nested_item = Arc::new(Field::new_list_field(lists.data_type().clone(), true));
    let nested = ListArray::new(nested_item, OffsetBuffer::from_lengths([3]), Arc::new(lists.clone()), None);
    let fixed = FixedSizeListArray::new(item(), 3, numbers.clone(), None);
    let fields = Fields::from(vec![Field::new("n", DataType::Int32, true), Field::new("s", DataType::Utf8, true)]);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["å\"", "", "z"]));
    let structs = StructArray::new(fields, vec![numbers, texts], Some(vec![true, true, false].into()));
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(i64::MAX);
    map.append(true).expect("appends");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some(""), Some("1e3"), Some("å\u{1F600}\n\\N"), None])),
        Arc::new(StringViewArray::from(vec!["a view that is longer than twelve"])),
        Arc::new(LargeStringArray::from(vec!["l"])),
        Arc::new(words),
        Arc::new(BinaryArray::from_vec(vec![b"", b"\x00\xff"])),
        Arc::new(FixedSizeBinaryArray::try_from_iter([[1_u8, 2]].iter()).expect("two")),
        Arc::new(lists),
        Arc::new(fixed),
        Arc::new(nested),
        Arc::new(structs),
        Arc::new(map.finish()),
        Arc::new(NullArray::new(1)),
    ];
    expect![[r#"
        text: "" "1e3" "å😀\n\\N" null
        text: "a view that is longer than twelve"
        text: "l"
        text: "a" null "a"
        bytea: "\\x" "\\x00ff"
        bytea: "\\x0102"
        integer[]: "{1,NULL}" "{}" "{3}"
        integer[]: "{1,NULL,3}"
        jsonb: "[[1, null], [], [3]]"
        jsonb: "{\"n\": 1, \"s\": \"å\\\"\"}" "{\"n\": null, \"s\": \"\"}" null
        jsonb: "{\"k\": 9223372036854775807}"
        text: null"#]]
    .assert_eq(&stored(&server, columns).await);
}

#[tokio::test]
async fn columns_of_the_servers_own_types_take_texts() {
    let server = Postgres::start();
    server.sql(
        "CREATE TYPE mood AS ENUM ('ok', 'bad'); CREATE DOMAIN short AS varchar(4) CHECK (VALUE <> 'no'); \
         CREATE TABLE t (id numeric(5, 1), u uuid, j json, b jsonb, m mood, d short, k char(3))",
    );
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let mut fields = vec![Field::new("id", DataType::Int64, false)];
    fields.extend(["u", "j", "b", "m", "d", "k"].map(text));
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let definition = table("t", schema.clone(), &[], &[("url", server.url())]);
    let spec = spec("postgres", &definition).expect("the options are right");
    let mut sink = spec.open(&Process::new().context(None, 0, 1)).await.expect("opens");
    let column = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
    let columns = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])) as ArrayRef,
        column(vec!["00000000-0000-0000-0000-00000000000A", "x", "", "", ""]),
        column(vec!["{\"a\": 1}", "{}", "{", "{}", "{}"]),
        column(vec!["[1, 2]", "1", "1", "1", "\"\\u0000\""]),
        column(vec!["ok", "ok", "ok", "worse", "ok"]),
        column(vec!["yes", "yes", "yes", "yes", "no"]),
        column(vec!["a", "a", "a", "a", "a"]),
    ];
    let ids: Vec<&str> = vec!["00000000-0000-0000-0000-000000000000"; 3];
    let mut columns = columns;
    columns[1] = column([vec!["00000000-0000-0000-0000-00000000000A", "x"], ids].concat());
    epoch(&mut sink, 1, vec![Batch::append_only(RecordBatch::try_new(schema, columns).expect("fits"))]).await;
    let mut messages: Vec<String> = sink.take_rejected().into_iter().map(|letter| letter.message).collect();
    messages.sort();
    expect![[r#"
        invalid input syntax for type json (The input string ended unexpectedly.)
        invalid input syntax for type uuid: "x"
        invalid input value for enum mood: "worse"
        unsupported Unicode escape sequence (\u0000 cannot be converted to text.)"#]]
    .assert_eq(&messages.join("\n"));
    assert_eq!(
        server.sql("SELECT t::text FROM t"),
        ["(1.0,00000000-0000-0000-0000-00000000000a,\"{\"\"a\"\": 1}\",\"[1, 2]\",ok,yes,\"a  \")"]
    );
}

#[tokio::test]
async fn a_type_without_a_place_is_told_at_the_declaration() {
    let data_type = DataType::RunEndEncoded(
        Arc::new(Field::new("run_ends", DataType::Int32, false)),
        Arc::new(Field::new("values", DataType::Utf8, true)),
    );
    let schema = Arc::new(Schema::new(vec![Field::new("c", data_type, true)]));
    let definition = table("t", schema, &[], &[("url", "postgresql://h/d".to_owned())]);
    let error = spec("postgres", &definition).map(|_| ()).expect_err("has no place");
    assert!(error.to_string().starts_with("column 'c': PostgreSQL cannot hold a column of type"), "{error}");
}
