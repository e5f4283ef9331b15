//! Every type with its extreme values, through each format and back.

use super::*;
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Fields;

fn flat_columns() -> Vec<(&'static str, ArrayRef)> {
    let decimals = Decimal128Array::from(vec![Some(10_i128.pow(37)), Some(-1), None]);
    vec![
        ("int8", Arc::new(Int8Array::from(vec![Some(i8::MIN), Some(i8::MAX), None]))),
        ("int16", Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), None]))),
        ("int32", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None]))),
        ("int64", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]))),
        ("uint8", Arc::new(UInt8Array::from(vec![Some(0), Some(u8::MAX), None]))),
        ("uint16", Arc::new(UInt16Array::from(vec![Some(0), Some(u16::MAX), None]))),
        ("uint32", Arc::new(UInt32Array::from(vec![Some(0), Some(u32::MAX), None]))),
        ("uint64", Arc::new(UInt64Array::from(vec![Some(0), Some(u64::MAX), None]))),
        ("float32", Arc::new(Float32Array::from(vec![Some(f32::MIN), Some(f32::MIN_POSITIVE), None]))),
        ("float64", Arc::new(Float64Array::from(vec![Some(f64::MAX), Some(-f64::MIN_POSITIVE), None]))),
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("decimal", Arc::new(decimals.with_precision_and_scale(38, 3).expect("fits"))),
        ("date", Arc::new(Date32Array::from(vec![Some(-700_000), Some(2_000_000), None]))),
        ("nanos", Arc::new(TimestampNanosecondArray::from(vec![Some(i64::MIN + 1), Some(i64::MAX), None]))),
        ("millis", Arc::new(TimestampMillisecondArray::from(vec![Some(-1), Some(253_402_300_799_999), None]))),
        ("text", Arc::new(StringArray::from(vec![Some("å\u{1f600}\"',;\\\t"), Some(" x "), None]))),
    ]
}

fn nested_columns() -> Vec<(&'static str, ArrayRef)> {
    let item = Arc::new(Field::new_list_field(DataType::Int32, true));
    let items = Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX)]));
    let offsets = OffsetBuffer::from_lengths([3, 0, 0]);
    let list = ListArray::new(item, offsets, items, Some(vec![true, true, false].into()));
    let fields = Fields::from(vec![Field::new("inner", DataType::Utf8, true)]);
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, None]));
    let structs = StructArray::new(fields, vec![inner], Some(vec![true, true, false].into()));
    vec![("list", Arc::new(list)), ("struct", Arc::new(structs))]
}

async fn check(kind: &str, columns: Vec<(&'static str, ArrayRef)>) {
    let dir = tempfile::tempdir().expect("makes a folder");
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    let written = RecordBatch::try_from_iter_with_nullable(columns).expect("equal lengths");
    let name = write(dir.path(), kind, &written);
    let (read, letters) = read_all(&SingleFile, &table(dir.path(), written.schema(), &[("path", &name)])).await;
    assert_eq!(letters, [], "{kind}");
    for (field, (read, written)) in written.schema().fields().iter().zip(read.columns().iter().zip(written.columns())) {
        assert_eq!(read, written, "{kind} {}", field.name());
    }
}

#[tokio::test]
async fn csv_keeps_every_flat_type() {
    check("csv", flat_columns()).await;
}

#[tokio::test]
async fn json_keeps_every_type() {
    check("json", [flat_columns(), nested_columns()].concat()).await;
}

#[tokio::test]
async fn parquet_keeps_every_type() {
    check("parquet", [flat_columns(), nested_columns()].concat()).await;
}

#[tokio::test]
async fn timestamps_may_be_text_with_a_zone_or_milliseconds() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let nanos = Field::new("t", DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None), true);
    let schema = Arc::new(Schema::new(vec![nanos]));
    let text = "{\"t\":\"1970-01-01T02:00:00+02:00\"}\n{\"t\":\"1970-01-01 00:00:00.5\"}\n{\"t\":\"soon\"}\n";
    std::fs::write(dir.path().join("a.json"), text).expect("writes");
    let (read, letters) = read_all(&SingleFile, &table(dir.path(), schema.clone(), &[("path", "a.json")])).await;
    let values = |rows: &RecordBatch| {
        rows.column(0).as_primitive::<arrow::datatypes::TimestampNanosecondType>().values().to_vec()
    };
    assert_eq!((values(&read), letters.len()), (vec![0, 500_000_000], 1));
    // The second is beyond what nanoseconds hold.
    std::fs::write(dir.path().join("b.json"), "{\"t\":-1}\n{\"t\":9223372036854775807}\n").expect("writes");
    let pairs = [("path", "b.json"), ("json.timestamp_format", "unix_millis")];
    let (read, letters) = read_all(&SingleFile, &table(dir.path(), schema, &pairs)).await;
    assert_eq!((values(&read), letters.len()), (vec![-1_000_000], 1));
    assert_eq!(letters[0].path, "t");
}

#[tokio::test]
async fn a_parquet_value_that_does_not_fit_the_declared_type_is_a_dead_letter() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let name = write(dir.path(), "parquet", &rows(0..20));
    let narrow =
        Arc::new(Schema::new(vec![Field::new("x", DataType::Int8, true), Field::new("id", DataType::Int8, true)]));
    let (read, letters) = read_all(&SingleFile, &table(dir.path(), narrow.clone(), &[("path", &name)])).await;
    assert_eq!((read.num_rows(), letters.len()), (20, 0));
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![1, 1000, 2]));
    let name = write(dir.path(), "parquet", &RecordBatch::try_from_iter([("id", wide)]).expect("one column"));
    let (read, letters) = read_all(&SingleFile, &table(dir.path(), narrow, &[("path", &name)])).await;
    assert_eq!(read.num_rows(), 2);
    assert_eq!((letters.len(), letters[0].position.as_str()), (1, "f.parquet:1"));
    assert_eq!(letters[0].payload, "{\"id\":1000}");
}

#[tokio::test]
async fn avro_keeps_every_type_that_it_has() {
    // Its widest integer has a sign.
    let flat = flat_columns().into_iter().filter(|(name, _)| *name != "uint64");
    check("zstd.avro", flat.chain(nested_columns()).collect()).await;
}
