//! The sources that need no server: files, the inbox, the generators.

use super::conformance::{Case, check};
use super::{spec, table};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use headwater_connectors::inbox::Inbox;
use headwater_core::ErrorKind;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)]))
}

/// Writes files of rows, some of which are bad; returns the folder.
fn folder(ending: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for file in 0..4_i64 {
        let ids = file * 50..file * 50 + [30, 1, 0, 17][usize::try_from(file).expect("is small")];
        let path = dir.path().join(format!("{file}.{ending}"));
        match ending {
            "parquet" => parquet(&path, ids),
            "csv" => {
                let rows =
                    ids.map(|id| if id % 7 == 3 { format!("x{id},bad\n") } else { format!("{id},\"n\n{id}\"\n") });
                fs::write(path, format!("id,name\n{}", rows.collect::<String>())).expect("writes");
            }
            _ => {
                let row = |id| format!("{{\"id\":{id},\"name\":\"å{id}\"}}");
                let rows: Vec<String> = ids.map(|id| if id % 7 == 3 { "{".to_owned() } else { row(id) }).collect();
                fs::write(path, rows.join("\n")).expect("writes");
            }
        }
    }
    dir
}

fn parquet(path: &Path, ids: std::ops::Range<i64>) {
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(arrow::array::Int64Array::from_iter_values(ids.clone())),
        Arc::new(arrow::array::StringArray::from_iter_values(ids.map(|id| format!("n{id}")))),
    ];
    let rows = arrow::array::RecordBatch::try_new(schema(), columns).expect("fits");
    let properties = parquet::file::properties::WriterProperties::builder().set_max_row_group_row_count(Some(8));
    let file = fs::File::create(path).expect("makes a file");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, schema(), Some(properties.build())).expect("starts");
    writer.write(&rows).expect("writes");
    writer.close().expect("ends");
}

async fn files(name: &'static str, ending: &str, mode: &str) {
    let dir = folder(ending);
    let of = |path: &str, more: &[(&str, &str)]| {
        let options: Vec<_> = [("path", path), ("mode", mode)].iter().chain(more).copied().collect();
        spec("filesystem", &table(dir.path(), Some(schema()), &options))
    };
    let pattern = format!("*.{ending}");
    let nowhere = table(dir.path(), Some(schema()), &[("path", "nowhere/x.json"), ("mode", "bounded")]);
    let rows = check(Case {
        name,
        spec: of(&pattern, &[]).expect("fits"),
        bad_address: (spec("single_file", &nowhere).expect("fits"), ErrorKind::NotFound),
        refused: vec![
            of(&pattern, &[("mode", "sideways")]),
            of(&pattern, &[("format", "xml")]),
            of(&pattern, &[("pth", "x")]),
            spec("filesystem", &table(dir.path(), Some(schema()), &[])),
        ],
        parallelisms: &[1, 2, 3, 6],
    })
    .await;
    assert_eq!(rows.values().sum::<i64>(), 48, "{rows:?}");
}

#[tokio::test]
async fn json_files_conform() {
    files("json", "json", "bounded").await;
}

#[tokio::test]
async fn csv_files_conform() {
    files("csv", "csv", "bounded").await;
}

#[tokio::test]
async fn csv_files_that_are_followed_conform() {
    files("csv, tail", "csv", "tail").await;
}

#[tokio::test]
async fn parquet_files_conform() {
    files("parquet", "parquet", "bounded").await;
}

#[tokio::test]
async fn the_inbox_conforms() {
    for mode in ["bounded", "tail"] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let inbox = Inbox::with_segment_bytes(dir.path().join("inbox"), 200).expect("opens");
        for id in 0..60 {
            inbox.append("orders", &[format!("{{\"id\":{id},\"name\":\"n\"}}").as_bytes()]).expect("appends");
        }
        let of = |dir: &Path, options: &[(&str, &str)]| {
            let options: Vec<_> = [("format", "json")].iter().chain(options).copied().collect();
            spec("inbox", &table(dir, Some(schema()), &options))
        };
        let good = [("topic", "orders"), ("mode", mode)];
        check(Case {
            name: "inbox",
            spec: of(dir.path(), &good).expect("fits"),
            bad_address: (of(Path::new("/nowhere"), &[("topic", "orders")]).expect("fits"), ErrorKind::NotFound),
            refused: vec![
                of(dir.path(), &[]),
                of(dir.path(), &[("topic", "../x")]),
                of(dir.path(), &[("topic", "orders"), ("mode", "sideways")]),
                of(dir.path(), &[("topic", "orders"), ("pth", "x")]),
            ],
            parallelisms: &[1],
        })
        .await;
    }
}

#[tokio::test]
async fn the_generators_conform() {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let counted =
        Schema::new(vec![Field::new("counter", DataType::Int64, false), Field::new("timestamp", time, false)]);
    let counted: SchemaRef = Arc::new(counted);
    let nowhere = table(Path::new("/nowhere"), Some(schema()), &[("path", "x.json")]);
    let generator = |options: &[(&str, &str)]| spec("generator", &table(Path::new(""), Some(counted.clone()), options));
    let nexmark = |options: &[(&str, &str)]| spec("nexmark", &table(Path::new(""), None, options));
    let cases = [
        (
            generator(&[("rows", "300")]),
            vec![generator(&[("rows", "many")]), generator(&[("event_time_interval", "x")])],
        ),
        (
            nexmark(&[("events", "700"), ("table", "auction")]),
            vec![nexmark(&[("table", "cars")]), nexmark(&[("events", "many")])],
        ),
        (nexmark(&[("events", "700"), ("table", "bid")]), vec![]),
    ];
    for (good, refused) in cases {
        // They have no address; what cannot be reached is a file.
        let bad_address = (spec("single_file", &nowhere).expect("fits"), ErrorKind::NotFound);
        let spec = good.expect("fits");
        check(Case { name: "generator", spec, bad_address, refused, parallelisms: &[1, 2, 3, 7] }).await;
    }
}
