//! Tests of the file sources: what is read, where it resumes, and what is bad.

mod bad;
mod positions;
mod types;

use super::*;
use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field};
use arrow_avro::compression::CompressionCodec;
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroOcfFormat;
use headwater_core::{DeadLetter, ErrorKind, EventTime, FixedClock, Polled, Position};
use proptest::prelude::*;
use std::io::Write as _;
use std::path::Path;

/// More polls than any test here needs: a source that does not end fails instead of hanging.
const POLLS_MAX: usize = 100_000;

pub(super) fn context(subtask: usize, parallelism: usize) -> TaskContext {
    let clock = Arc::new(FixedClock::new(EventTime(0)));
    TaskContext::new("p", "n", clock).with_subtask(subtask, parallelism)
}

fn schema() -> SchemaRef {
    let id = Field::new("id", DataType::Int64, false);
    Arc::new(Schema::new(vec![id, Field::new("name", DataType::Utf8, true), Field::new("x", DataType::Float64, true)]))
}

fn rows(range: std::ops::Range<i64>) -> RecordBatch {
    let names = range.clone().map(|id| (id % 3 > 0).then(|| format!("n,\"{id}\"\nå")));
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(range.clone())),
        Arc::new(names.collect::<StringArray>()),
        Arc::new(arrow::array::Float64Array::from_iter_values(range.map(|id| id as f64 / 8.0))),
    ];
    RecordBatch::try_new(schema(), columns).expect("fits the schema")
}

fn options(pairs: &[(&str, &str)]) -> headwater_core::Options {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn table(dir: &Path, schema: SchemaRef, pairs: &[(&str, &str)]) -> TableDefinition {
    TableDefinition {
        name: "t".into(),
        schema: Some(schema),
        primary_key: Vec::new(),
        options: options(pairs),
        base: dir.to_owned(),
    }
}

/// Reads until the end; returns the rows and the dead letters.
async fn read(source: &mut Box<dyn Source>, schema: &SchemaRef, rows_max: usize) -> (RecordBatch, Vec<DeadLetter>) {
    let (mut batches, mut letters) = (Vec::new(), Vec::new());
    for _ in 0..POLLS_MAX {
        match source.poll(rows_max).await.expect("reads") {
            Polled::Batch(polled) => {
                assert!(polled.batch.n_rows() <= rows_max);
                batches.push(polled.batch.rows);
                letters.extend(polled.dead_letters);
            }
            Polled::Idle => panic!("a file is never idle"),
            Polled::End => return (concat_batches(schema, &batches).expect("one schema"), letters),
        }
    }
    panic!("no end after {POLLS_MAX} polls")
}

async fn read_all(connector: &dyn Connector, table: &TableDefinition) -> (RecordBatch, Vec<DeadLetter>) {
    let spec = connector.source(table).expect("fits");
    table.options.one_of("connector", "", &[""]).expect("is not there");
    table.options.check_all_known().expect("all options are known");
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    read(&mut source, &spec.schema(), 7).await
}

fn csv_text(rows: &RecordBatch) -> Vec<u8> {
    let mut out = Vec::new();
    arrow::csv::Writer::new(&mut out).write(rows).expect("writes");
    out
}

fn json_text(rows: &RecordBatch) -> Vec<u8> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(rows).expect("writes");
    writer.finish().expect("ends");
    writer.into_inner()
}

fn parquet_bytes(rows: &RecordBatch) -> Vec<u8> {
    let properties = parquet_crate::file::properties::WriterProperties::builder().set_max_row_group_row_count(Some(10));
    let mut out = Vec::new();
    let mut writer =
        parquet_crate::arrow::ArrowWriter::try_new(&mut out, rows.schema(), Some(properties.build())).expect("starts");
    writer.write(rows).expect("writes");
    writer.close().expect("ends");
    out
}

use ::parquet as parquet_crate;

fn avro_bytes(rows: &RecordBatch, codec: CompressionCodec) -> Vec<u8> {
    let builder = WriterBuilder::new(rows.schema().as_ref().clone()).with_compression(Some(codec));
    let mut writer = builder.build::<_, AvroOcfFormat>(Vec::new()).expect("starts");
    for first in (0..rows.num_rows()).step_by(10) {
        writer.write(&rows.slice(first, 10.min(rows.num_rows() - first))).expect("writes");
    }
    writer.finish().expect("ends");
    writer.into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Two members, as parallel compressors write them.
    let (left, right) = bytes.split_at(bytes.len() / 2);
    let pack = |part: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).expect("packs");
        encoder.finish().expect("ends")
    };
    [pack(left), pack(right)].concat()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).expect("packs")
}

/// Writes the same rows in a format; returns the file's name.
fn write(dir: &Path, kind: &str, rows: &RecordBatch) -> String {
    let bytes = match kind {
        "csv" => csv_text(rows),
        "csv.gz" => gzip(&csv_text(rows)),
        "json" | "txt" => json_text(rows),
        "json.zst" => zstd(&json_text(rows)),
        "avro" => avro_bytes(rows, CompressionCodec::Deflate),
        "snappy.avro" => avro_bytes(rows, CompressionCodec::Snappy),
        "zstd.avro" => avro_bytes(rows, CompressionCodec::ZStandard),
        _ => parquet_bytes(rows),
    };
    let name = format!("f.{kind}");
    std::fs::write(dir.join(&name), bytes).expect("writes");
    name
}

const KINDS: [&str; 7] = ["csv", "csv.gz", "json", "json.zst", "parquet", "avro", "snappy.avro"];

#[tokio::test]
async fn every_format_reads_what_was_written() {
    let dir = tempfile::tempdir().expect("makes a folder");
    for kind in KINDS {
        let name = write(dir.path(), kind, &rows(0..25));
        let (read, letters) = read_all(&SingleFile, &table(dir.path(), schema(), &[("path", &name)])).await;
        assert_eq!(letters, [], "{kind}");
        assert_eq!(read, rows(0..25), "{kind}");
    }
}

#[tokio::test]
async fn a_projection_equals_a_full_read_of_fewer_columns() {
    let dir = tempfile::tempdir().expect("makes a folder");
    for kind in KINDS {
        let name = write(dir.path(), kind, &rows(0..25));
        let spec = SingleFile.source(&table(dir.path(), schema(), &[("path", &name)])).expect("fits");
        for columns in [vec![2, 0], vec![1], vec![0, 1, 2]] {
            let projected = spec.project(&columns).expect("can project");
            let mut source = projected.open(&context(0, 1)).await.expect("opens");
            let (read, _) = read(&mut source, &projected.schema(), 4).await;
            assert_eq!(read, rows(0..25).project(&columns).expect("in range"), "{kind} {columns:?}");
        }
    }
}

/// Polls a few times, then continues with a second source at the position of the first.
async fn rest_after(spec: &Arc<dyn SourceSpec>, n_polls: usize, rows_max: usize) -> (RecordBatch, RecordBatch) {
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    let mut before = vec![RecordBatch::new_empty(spec.schema())];
    for _ in 0..n_polls {
        if let Polled::Batch(polled) = source.poll(rows_max).await.expect("reads") {
            before.push(polled.batch.rows);
        }
    }
    let position = serde_json::to_string(&source.position()).expect("is JSON");
    let mut resumed = spec.open(&context(0, 1)).await.expect("opens");
    resumed.seek(&serde_json::from_str(&position).expect("is a position")).await.expect("seeks");
    let (after, _) = read(&mut resumed, &spec.schema(), rows_max + 1).await;
    (concat_batches(&spec.schema(), &before).expect("one schema"), after)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn seek_continues_exactly_where_position_was(n_polls in 0_usize..30, rows_max in 1_usize..12, n_rows in 0_i64..40) {
        let dir = tempfile::tempdir().expect("makes a folder");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
        for kind in KINDS.into_iter().chain(["txt"]) {
            let name = write(dir.path(), kind, &rows(0..n_rows));
            std::fs::copy(dir.path().join(&name), dir.path().join(format!("b{name}"))).expect("copies");
            let raw = crate::formats::raw_schema();
            let pairs = [("path", format!("*{name}")), ("format", "raw".into())];
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let table = match kind {
                "txt" => table(dir.path(), raw, &pairs),
                _ => table(dir.path(), schema(), &pairs[..1]),
            };
            let spec = Filesystem.source(&table).expect("fits");
            let (before, after) = runtime.block_on(rest_after(&spec, n_polls, rows_max));
            let whole = concat_batches(&spec.schema(), [&before, &after]).expect("one schema");
            let (expected, _) = runtime.block_on(async {
                let mut source = spec.open(&context(0, 1)).await.expect("opens");
                read(&mut source, &spec.schema(), 1000).await
            });
            prop_assert_eq!(whole.num_rows() as i64, 2 * n_rows);
            prop_assert_eq!(whole, expected, "{}", kind);
        }
    }
}

#[tokio::test]
async fn subtasks_divide_the_files() {
    let dir = tempfile::tempdir().expect("makes a folder");
    for number in 0..5_i64 {
        let path = dir.path().join(format!("d{number}.json"));
        std::fs::write(path, json_text(&rows(number..number + 1))).expect("writes");
    }
    std::fs::write(dir.path().join(".part-1.json"), "not to be seen").expect("writes");
    let spec = Filesystem.source(&table(dir.path(), schema(), &[("path", "."), ("format", "json")])).expect("fits");
    assert_eq!(spec.parallelism_max(), 5);
    let mut ids = Vec::new();
    for subtask in 0..2 {
        let mut source = spec.open(&context(subtask, 2)).await.expect("opens");
        let (read, _) = read(&mut source, &spec.schema(), 9).await;
        ids.extend_from_slice(read.column(0).as_primitive::<arrow::datatypes::Int64Type>().values());
    }
    assert_eq!(ids, [0, 2, 4, 1, 3]);
}

#[tokio::test]
async fn the_watermark_is_held_while_a_file_waits() {
    let dir = tempfile::tempdir().expect("makes a folder");
    for name in ["a.json", "b.json"] {
        std::fs::write(dir.path().join(name), json_text(&rows(0..2))).expect("writes");
    }
    let spec = Filesystem.source(&table(dir.path(), schema(), &[("path", "*.json")])).expect("fits");
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    let mut seen = vec![(None, source.holds_watermark())];
    while let Polled::Batch(polled) = source.poll(1).await.expect("reads") {
        seen.push((Some(polled.partition), source.holds_watermark()));
    }
    assert_eq!(seen, [(None, true), (Some(0), true), (Some(0), true), (Some(1), false), (Some(1), false)]);
}

#[tokio::test]
async fn raw_rows_carry_their_byte_offset() {
    let dir = tempfile::tempdir().expect("makes a folder");
    std::fs::write(dir.path().join("r.txt"), b"\xef\xbb\xbfone\r\n\ntwo\n\xff").expect("writes");
    let pairs = [("path", "r.txt"), ("format", "raw")];
    let (read, _) = read_all(&SingleFile, &table(dir.path(), crate::formats::raw_schema(), &pairs)).await;
    let values: Vec<&[u8]> = read.column(0).as_binary::<i32>().iter().flatten().collect();
    assert_eq!(values, [b"one".as_slice(), b"two", b"\xff"]);
    let positions: Vec<&str> = read.column(1).as_string::<i32>().iter().flatten().collect();
    assert_eq!(positions, ["r.txt:3", "r.txt:9", "r.txt:13"]);
}
