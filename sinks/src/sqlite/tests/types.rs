//! Every type with its extreme values, through the sink and back.

use super::*;
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Fields, Int32Type, TimeUnit};
use rusqlite::types::Value;

/// Writes one column and returns what SQLite holds, in order of writing, with the declared type.
async fn stored(column: ArrayRef) -> (String, Vec<Value>) {
    let dir = tempfile::tempdir().expect("makes a folder");
    let schema = Arc::new(Schema::new(vec![Field::new("v", column.data_type().clone(), true)]));
    let mut table = table(dir.path(), &[], &[("table", "t")]);
    table.schema = Some(schema.clone());
    let mut sink = try_open(&table).await.expect("opens");
    let rows = RecordBatch::try_new(schema, vec![column]).expect("fits");
    epoch(&mut sink, 1, vec![Batch::append_only(rows)]).await;
    let file = Sql::open(dir.path().join("m.db")).expect("opens");
    let mut query = file.prepare("SELECT v FROM t ORDER BY rowid").expect("is there");
    let values = query.query_map([], |row| row.get(0)).expect("reads").map(|value| value.expect("reads")).collect();
    let declared = file.query_row("SELECT type FROM pragma_table_info('t')", [], |row| row.get(0)).expect("reads");
    (declared, values)
}

fn text(values: &[&str]) -> Vec<Value> {
    values.iter().map(|value| Value::Text((*value).to_owned())).collect()
}

fn integers(values: &[i64]) -> Vec<Value> {
    values.iter().copied().map(Value::Integer).collect()
}

#[tokio::test]
async fn numbers_keep_their_extremes() {
    let (declared, values) = stored(Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]))).await;
    assert_eq!(declared, "BIGINT");
    assert_eq!(values, [integers(&[i64::MIN, i64::MAX]), vec![Value::Null]].concat());
    let (_, values) = stored(Arc::new(Int8Array::from(vec![i8::MIN, i8::MAX]))).await;
    assert_eq!(values, integers(&[-128, 127]));
    let (_, values) = stored(Arc::new(UInt32Array::from(vec![0, u32::MAX]))).await;
    assert_eq!(values, integers(&[0, u32::MAX.into()]));
    let (_, values) = stored(Arc::new(UInt64Array::from(vec![i64::MAX as u64]))).await;
    assert_eq!(values, integers(&[i64::MAX]));
    let doubles = [f64::MIN, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY, -0.5];
    let (_, values) = stored(Arc::new(Float64Array::from(doubles.to_vec()))).await;
    assert_eq!(values, doubles.map(Value::Real).to_vec());
    assert_eq!(stored(Arc::new(Float64Array::from(vec![f64::NAN]))).await.1, [Value::Null]);
    let (declared, values) = stored(Arc::new(BooleanArray::from(vec![true, false]))).await;
    assert_eq!((declared.as_str(), values), ("BOOLEAN", integers(&[1, 0])));
}

#[tokio::test]
async fn a_number_that_does_not_fit_is_refused_rather_than_rounded() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::UInt64, true)]));
    let mut table = table(dir.path(), &[], &[]);
    table.schema = Some(schema.clone());
    let mut sink = try_open(&table).await.expect("opens");
    let rows = RecordBatch::try_new(schema, vec![Arc::new(UInt64Array::from(vec![u64::MAX]))]).expect("fits");
    sink.write(Batch::append_only(rows)).await.expect("holds");
    let error = sink.prepare(Epoch(1)).await.expect_err("does not fit");
    assert_eq!(error.kind(), ErrorKind::Data);
}

#[tokio::test]
async fn decimals_are_numbers_where_they_fit() {
    let decimals = Decimal128Array::from(vec![1234, -5, 0]).with_precision_and_scale(12, 2).expect("fits");
    let (declared, values) = stored(Arc::new(decimals)).await;
    assert_eq!(declared, "DECIMAL(12,2)");
    assert_eq!(values, [Value::Real(12.34), Value::Real(-0.05), Value::Integer(0)]);
}

#[tokio::test]
async fn times_are_iso_text() {
    let nanos = [0, 1_500_000_000, -1, i64::MIN, i64::MAX];
    let (declared, values) = stored(Arc::new(TimestampNanosecondArray::from(nanos.to_vec()))).await;
    assert_eq!(declared, "TIMESTAMP");
    let expected = [
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:01.500Z",
        "1969-12-31T23:59:59.999999999Z",
        "1677-09-21T00:12:43.145224192Z",
        "2262-04-11T23:47:16.854775807Z",
    ];
    assert_eq!(values, text(&expected));
    let (_, values) = stored(Arc::new(TimestampMillisecondArray::from(vec![1]).with_timezone("+02:00"))).await;
    assert_eq!(values, text(&["1970-01-01T00:00:00.001Z"]));
    let (_, values) = stored(Arc::new(Date32Array::from(vec![0, -1]))).await;
    assert_eq!(values, text(&["1970-01-01", "1969-12-31"]));
}

#[tokio::test]
async fn text_and_bytes_are_kept_as_they_are() {
    let (_, values) = stored(Arc::new(StringArray::from(vec!["", "1e3", "å\u{0}\n"]))).await;
    assert_eq!(values, text(&["", "1e3", "å\u{0}\n"]));
    let (_, values) = stored(Arc::new(StringViewArray::from(vec!["v"]))).await;
    assert_eq!(values, text(&["v"]));
    let (_, values) = stored(Arc::new(BinaryArray::from_vec(vec![b"", b"\x00\xff"]))).await;
    assert_eq!(values, [Value::Blob(vec![]), Value::Blob(vec![0, 255])]);
    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    let (_, values) = stored(Arc::new(words)).await;
    assert_eq!(values, [Value::Text("a".into()), Value::Null, Value::Text("a".into())]);
}

#[tokio::test]
async fn nested_values_are_json() {
    let item = Arc::new(Field::new_list_field(DataType::Int32, true));
    let list = ListArray::new(item, OffsetBuffer::from_lengths([2, 0]), Arc::new(Int32Array::from(vec![1, 2])), None);
    assert_eq!(stored(Arc::new(list)).await.1, text(&["[1,2]", "[]"]));
    let time = Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), true);
    let columns: Vec<ArrayRef> = vec![Arc::new(TimestampNanosecondArray::from(vec![Some(0), None]))];
    let structs = StructArray::new(Fields::from(vec![time]), columns, Some(vec![true, false].into()));
    let (_, values) = stored(Arc::new(structs)).await;
    assert_eq!(values, [Value::Text("{\"at\":\"1970-01-01T00:00:00Z\"}".into()), Value::Null]);
}
