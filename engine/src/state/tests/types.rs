//! Rows of every type come back as they were, whatever the dictionaries of their parts.

use crate::exchange::HashRouter;
use crate::state::{TableState, encode, merge_parts, restore_table};
use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::*;
use headwater_core::{Batch, Route, StateTable};
use std::sync::Arc;

const N: i32 = 40;

fn texts(seed: i32) -> Vec<Option<String>> {
    (0..N).map(|n| (n % 7 != 3).then(|| format!("text {} of {seed} that is longer than a view", n % 5))).collect()
}

fn column(name: &str, array: ArrayRef) -> (Field, ArrayRef) {
    (Field::new(name, array.data_type().clone(), true), array)
}

fn text_columns(seed: i32) -> Vec<(Field, ArrayRef)> {
    let text = texts(seed);
    let refs: Vec<Option<&str>> = text.iter().map(Option::as_deref).collect();
    let bytes: Vec<Option<&[u8]>> = refs.iter().map(|text| text.map(str::as_bytes)).collect();
    let dictionary: DictionaryArray<Int8Type> = refs.iter().copied().collect();
    let views =
        arrow::compute::cast(&dictionary, &DataType::Dictionary(DataType::UInt16.into(), DataType::Utf8View.into()));
    vec![
        column("utf8", Arc::new(StringArray::from(refs.clone()))),
        column("large", Arc::new(LargeStringArray::from(refs.clone()))),
        column("view", Arc::new(StringViewArray::from(refs))),
        column("binary", Arc::new(BinaryArray::from(bytes.clone()))),
        column("binary_view", Arc::new(BinaryViewArray::from(bytes))),
        column("dictionary", Arc::new(dictionary)),
        column("dictionary_of_views", views.unwrap()),
    ]
}

fn number_columns(seed: i32) -> Vec<(Field, ArrayRef)> {
    let floats = |n: i32| match n % 6 {
        0 => None,
        1 => Some(-0.0),
        2 => Some(f64::NAN),
        3 => Some(f64::INFINITY),
        _ => Some(f64::from(n * seed)),
    };
    let some = |n: i32| (n % 4 != 0).then_some(n + seed);
    let i64s: Int64Array = (0..N).map(|n| some(n).map(i64::from)).collect();
    let of_i64 = |to: DataType| arrow::compute::cast(&i64s, &to).unwrap();
    vec![
        column("boolean", Arc::new((0..N).map(|n| some(n).map(|n| n % 2 == 0)).collect::<BooleanArray>())),
        column("int8", of_i64(DataType::Int8)),
        column("uint64", of_i64(DataType::UInt64)),
        column("float64", Arc::new((0..N).map(floats).collect::<Float64Array>())),
        column("float32", Arc::new((0..N).map(|n| floats(n).map(|f| f as f32)).collect::<Float32Array>())),
        column("decimal", of_i64(DataType::Decimal128(20, 3))),
        column("wide", of_i64(DataType::Decimal256(50, 2))),
        column("date", arrow::compute::cast(&of_i64(DataType::Int32), &DataType::Date32).unwrap()),
        column("time", of_i64(DataType::Time64(TimeUnit::Nanosecond))),
        column("stamp", of_i64(DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())))),
        column("duration", of_i64(DataType::Duration(TimeUnit::Millisecond))),
        column("interval", {
            let value = |n: i32| some(n).map(|n| IntervalMonthDayNano::new(n, n, i64::from(n)));
            Arc::new((0..N).map(value).collect::<IntervalMonthDayNanoArray>())
        }),
        column("nothing", Arc::new(NullArray::new(N as usize))),
    ]
}

fn nested_columns(seed: i32) -> Vec<(Field, ArrayRef)> {
    let text = texts(seed);
    let dictionary: Arc<DictionaryArray<Int32Type>> = Arc::new(text.iter().map(Option::as_deref).collect());
    let views: ArrayRef = Arc::new(StringViewArray::from(text.iter().map(Option::as_deref).collect::<Vec<_>>()));
    let lengths = (0..N as usize).map(|n| usize::from(n % 3 != 0));
    let lengths: Vec<usize> = lengths.collect();
    let total: usize = lengths.iter().sum();
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    let valid = NullBuffer::from((0..N).map(|n| n % 5 != 0).collect::<Vec<_>>());
    let item = Arc::new(Field::new_list_field(dictionary.data_type().clone(), true));
    let list =
        ListArray::new(item, offsets.clone(), (dictionary.clone() as ArrayRef).slice(0, total), Some(valid.clone()));
    let inner = Fields::from(vec![
        Field::new("v", DataType::Utf8View, true),
        Field::new("d", dictionary.data_type().clone(), true),
        Field::new("required", DataType::Int32, false),
    ]);
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..N));
    let structs = StructArray::new(inner, vec![views.clone(), dictionary, numbers.clone()], Some(valid.clone()));
    let entries =
        Fields::from(vec![Field::new("keys", DataType::Int32, false), Field::new("values", DataType::Utf8View, true)]);
    let entries = StructArray::new(entries, vec![numbers.slice(0, total), views.slice(0, total)], None);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(field, offsets, entries, Some(valid.clone()), false);
    let item = Arc::new(Field::new_list_field(DataType::Int32, true));
    let pairs = FixedSizeListArray::new(item, 1, numbers, Some(valid));
    vec![
        column("list", Arc::new(list)),
        column("struct", Arc::new(structs)),
        column("map", Arc::new(map)),
        column("pairs", Arc::new(pairs)),
    ]
}

fn rows(seed: i32) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values((0..N).map(|n| n + seed * N)));
    let mut columns =
        vec![(Field::new("id", DataType::Int32, false).with_metadata([("a".to_owned(), "b".to_owned())].into()), ids)];
    columns.extend(text_columns(seed));
    columns.extend(number_columns(seed));
    columns.extend(nested_columns(seed));
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn by_id(batches: &[RecordBatch]) -> RecordBatch {
    let all = concat_batches(&batches[0].schema(), batches).unwrap();
    let order = lexsort_to_indices(&[SortColumn { values: all.column(0).clone(), options: None }], None).unwrap();
    take_record_batch(&all, &order).unwrap()
}

fn table(rows: &RecordBatch, key: Vec<usize>) -> StateTable {
    StateTable { name: "t", key: key.clone(), route: Route::Key(key), rows: rows.clone(), removed: None }
}

fn part() -> crate::state::Part {
    crate::state::Part { file: String::new(), bytes: 0, rows: 0, removed: 0, checksum: String::new(), subtask: (0, 1) }
}

#[test]
fn every_type_comes_back_also_after_a_merge() {
    let written = [rows(1), rows(2)];
    let files: Vec<_> = written.iter().map(|rows| encode(&table(rows, vec![0])).unwrap().unwrap().bytes).collect();
    let mut state =
        TableState { name: "t".to_owned(), key: vec![0], route: Route::Key(vec![0]), parts: vec![part(), part()] };
    let restored = |state: &TableState, files: &[bytes::Bytes]| {
        let mut batches = Vec::new();
        restore_table(state, files, 0, 1, |batch| {
            batches.push(batch);
            Ok(())
        })
        .unwrap();
        by_id(&batches)
    };
    let expected = by_id(&written);
    assert_eq!(restored(&state, &files), expected);
    let merged = merge_parts(&state, &files, false).unwrap();
    state.parts.pop();
    assert_eq!(restored(&state, &[merged.bytes]), expected);
}

#[test]
fn rows_of_every_type_of_key_are_where_the_exchange_sends_them() {
    let rows = rows(1);
    for column in 0..rows.num_columns() {
        let name = rows.schema().field(column).name().clone();
        if matches!(rows.column(column).data_type(), DataType::Map(..) | DataType::Null) {
            // Nothing can be routed by these.
            continue;
        }
        let key = if column == 0 { vec![0] } else { vec![0, column] };
        let mut router = HashRouter::new(&rows.schema(), &key, 3).unwrap();
        let mut routed = vec![Vec::new(); 3];
        for (subtask, batch) in router.split(Batch::append_only(rows.clone())).unwrap() {
            routed[subtask].push(batch.rows);
        }
        let file = encode(&table(&rows, key.clone())).unwrap().unwrap().bytes;
        let state = TableState { name: name.clone(), key: key.clone(), route: Route::Key(key), parts: vec![part()] };
        for (subtask, routed) in routed.iter().enumerate() {
            let mut mine = Vec::new();
            restore_table(&state, std::slice::from_ref(&file), subtask, 3, |batch| {
                mine.push(batch);
                Ok(())
            })
            .unwrap();
            assert_eq!(by_id(&mine), by_id(routed), "{name}, subtask {subtask}");
        }
    }
}

#[test]
fn a_dictionary_that_grew_too_large_for_its_keys_comes_back_in_pieces() {
    let dictionary = |from: i32| -> RecordBatch {
        let names: Vec<String> = (from..from + 100).map(|n| format!("name {n}")).collect();
        let column: DictionaryArray<Int8Type> = names.iter().map(String::as_str).collect();
        let field = Field::new("d", column.data_type().clone(), false);
        RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(column)]).unwrap()
    };
    let files: Vec<_> =
        [0, 100, 200].map(|from| encode(&table(&dictionary(from), vec![0])).unwrap().unwrap().bytes).to_vec();
    let state = TableState { name: "t".to_owned(), key: vec![0], route: Route::Key(vec![0]), parts: vec![part()] };
    let merged = merge_parts(&state, &files, false).unwrap();
    let mut n_rows = 0;
    restore_table(&state, &[merged.bytes], 0, 1, |batch| {
        assert_eq!(batch.schema(), dictionary(0).schema());
        n_rows += batch.num_rows();
        Ok(())
    })
    .unwrap();
    assert_eq!(n_rows, 300);
}

#[test]
fn key_groups_of_stored_rows_never_change() {
    // Pinned: files are sorted and state is shared out by these numbers.
    let rows = rows(1);
    let group = |column: &str| {
        let at = rows.schema().index_of(column).unwrap();
        crate::state::part::groups(&rows, &[at]).unwrap()[4]
    };
    let columns = ["id", "utf8", "dictionary", "view", "binary", "float64", "decimal", "stamp", "list", "struct"];
    let found: Vec<usize> = columns.iter().map(|column| group(column)).collect();
    assert_eq!(found, [3, 41, 41, 41, 41, 95, 193, 87, 210, 181]);
}
