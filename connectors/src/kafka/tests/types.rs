//! All types, with extreme values, there and back.

use super::*;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::Int64Type;
use headwater_core::{Batch, Epoch};

/// Returns rows of every type that SQL can declare, with the least and the greatest values and nulls.
pub(super) fn extremes() -> RecordBatch {
    let texts = vec![Some(""), Some("ünï\u{10FFFF}\"\\\n\0"), None];
    let lists = vec![Some(vec![Some(1), None]), Some(vec![]), None];
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("y")]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(1)]));
    let fields = vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Int64, true)];
    let structs = StructArray::new(fields.into(), vec![inner, number], Some(vec![true, true, false].into()));
    let decimals = Decimal128Array::from(vec![Some(10_i128.pow(38) - 1), Some(-(10_i128.pow(38)) + 1), None]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("i", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None]))),
        ("l", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]))),
        ("d", Arc::new(Float64Array::from(vec![Some(f64::MIN), Some(5e-324), None]))),
        ("n", Arc::new(decimals.with_precision_and_scale(38, 9).expect("fits"))),
        ("s", Arc::new(StringArray::from(texts))),
        ("y", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), Some(&b""[..]), None]))),
        ("date", Arc::new(Date32Array::from(vec![Some(-719_162), Some(2_932_896), None]))),
        ("ts", Arc::new(TimestampNanosecondArray::from(vec![Some(i64::MIN + 1_000_000_000), Some(i64::MAX), None]))),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("row", Arc::new(structs)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("rows")
}

#[tokio::test]
async fn every_type_survives_json() {
    let brokers = Brokers::new(&[("t", 1)]);
    let mut rows = extremes();
    // SQL has no unsigned type, but a query may have such a column.
    let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(0), None]));
    let mut columns: Vec<(String, ArrayRef, bool)> =
        rows.schema().fields().iter().zip(rows.columns()).map(|(f, c)| (f.name().clone(), c.clone(), true)).collect();
    columns.push(("u".into(), unsigned, true));
    rows = RecordBatch::try_from_iter_with_nullable(columns).expect("rows");
    let declared = table(&brokers.servers(), rows.schema(), &[], "");
    let mut sink = Kafka.sink(&declared).expect("is fine").open(&context()).await.expect("opens");
    sink.write(Batch::append_only(rows.clone())).await.expect("writes");
    let prepared = sink.prepare(Epoch(1)).await.expect("prepares");
    sink.commit(Epoch(1), &prepared).await.expect("commits");
    let reading = table(&brokers.servers(), rows.schema(), &[], "format = json\nstart = earliest\nbounded = true");
    let mut source = source(&reading).expect("is fine").open(&context()).await.expect("opens");
    let found = loop {
        match source.poll(10).await.expect("reads") {
            Polled::Batch(read) => {
                assert_eq!(read.dead_letters, vec![]);
                break read.batch.rows;
            }
            Polled::Idle => tokio::time::sleep(Duration::from_millis(2)).await,
            Polled::End => panic!("ended"),
        }
    };
    assert_eq!(found, rows);
}
