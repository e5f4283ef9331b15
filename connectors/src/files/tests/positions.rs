//! Where files are gone on with: after what was read, and not at all when they are not what they were. Files that come
//! and grow.

use super::*;
use expect_test::expect;
use std::fs;

const NONE: [i64; 0] = [];

fn spec(dir: &Path, options: &[(&str, &str)]) -> Arc<dyn SourceSpec> {
    let table = table(dir, schema(), options);
    let spec = Filesystem.source(&table).expect("fits");
    table.options.check_all_known().expect("all options are known");
    spec
}

/// Reads until there is nothing; returns the ids.
async fn ids(source: &mut Box<dyn Source>, rows_max: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    while let Polled::Batch(polled) = source.poll(rows_max).await.expect("reads") {
        assert_eq!(polled.dead_letters, []);
        ids.extend_from_slice(polled.batch.rows.column(0).as_primitive::<arrow::datatypes::Int64Type>().values());
    }
    ids
}

async fn resumed(spec: &Arc<dyn SourceSpec>, position: &Position) -> Result<Box<dyn Source>> {
    let mut source = spec.open(&context(0, 1)).await?;
    source.seek(position).await?;
    Ok(source)
}

fn append(path: &Path, text: &str) {
    let mut file = fs::File::options().append(true).create(true).open(path).expect("opens");
    file.write_all(text.as_bytes()).expect("writes");
}

fn lines(range: std::ops::Range<i64>) -> String {
    range.map(|id| format!("{{\"id\":{id}}}\n")).collect()
}

#[tokio::test]
async fn files_that_come_and_grow_are_followed() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let folder = dir.path().join("in");
    let spec = spec(dir.path(), &[("path", "in"), ("format", "json"), ("mode", "tail")]);
    assert_eq!(spec.describe(), "filesystem json 'in' (tail) [id, name, x]");
    let mut source = spec.open(&context(0, 1)).await.expect("a folder that is not there yet");
    assert_eq!(ids(&mut source, 2).await, NONE);
    fs::create_dir(&folder).expect("makes a folder");
    append(&folder.join("b.json"), &lines(0..3));
    assert_eq!(ids(&mut source, 2).await, [0, 1, 2]);
    append(&folder.join("a.json"), &lines(3..5));
    append(&folder.join("b.json"), "{\"id\":5}\n{\"id\":");
    assert_eq!(ids(&mut source, 2).await, [5, 3, 4]);
    append(&folder.join("b.json"), "6}");
    assert_eq!(ids(&mut source, 2).await, NONE);
    let position = source.position();
    append(&folder.join("b.json"), "\n");
    fs::write(folder.join("c.json.gz"), gzip(lines(7..9).trim_end().as_bytes())).expect("writes");
    assert_eq!(ids(&mut source, 1).await, [6, 7, 8]);
    assert!(!source.holds_watermark());
    // What was done since the position is done again, and nothing else.
    assert_eq!(ids(&mut resumed(&spec, &position).await.expect("goes on"), 9).await, [6, 7, 8]);
    // Files that were read and went away are forgotten.
    fs::remove_file(folder.join("a.json")).expect("removes");
    assert_eq!(ids(&mut source, 1).await, NONE);
    assert_eq!(source.position().0.keys().collect::<Vec<_>>(), ["in/b.json", "in/c.json.gz"]);
    assert_eq!(ids(&mut resumed(&spec, &position).await.expect("goes on"), 9).await, [6, 7, 8]);
}

#[tokio::test]
async fn a_header_may_be_written_after_the_file() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let path = dir.path().join("a.csv");
    let spec = spec(dir.path(), &[("path", "*.csv"), ("mode", "tail")]);
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    for (text, expected) in
        [("", vec![]), ("\u{feff}x,i", vec![]), ("d\n", vec![]), ("1,2\n1,", vec![2]), ("3\n", vec![3])]
    {
        append(&path, text);
        assert_eq!(ids(&mut source, 9).await, expected, "{text}");
        let position = source.position();
        assert_eq!(ids(&mut resumed(&spec, &position).await.expect("goes on"), 9).await, NONE);
    }
}

#[tokio::test]
async fn any_parallelism_goes_on_from_the_positions_of_another() {
    let dir = tempfile::tempdir().expect("makes a folder");
    for mode in ["bounded", "tail"] {
        for number in 0..7 {
            fs::write(dir.path().join(format!("{number}.json")), lines(number * 10..number * 10 + 10)).expect("writes");
        }
        let spec = spec(dir.path(), &[("path", "*.json"), ("mode", mode)]);
        let (mut read, mut position) = (Vec::new(), Position::default());
        for subtask in 0..3 {
            let mut source = spec.open(&context(subtask, 3)).await.expect("opens");
            for _ in 0..5 {
                if let Polled::Batch(polled) = source.poll(3).await.expect("reads") {
                    let rows = polled.batch.rows;
                    read.extend_from_slice(rows.column(0).as_primitive::<arrow::datatypes::Int64Type>().values());
                }
            }
            position.0.extend(source.position().0);
        }
        for parallelism in [1, 2, 5] {
            let mut all = read.clone();
            for subtask in 0..parallelism {
                let mut source = spec.open(&context(subtask, parallelism)).await.expect("opens");
                source.seek(&position).await.expect("seeks");
                all.extend(ids(&mut source, 4).await);
            }
            all.sort_unstable();
            assert_eq!(all, (0..70).collect::<Vec<i64>>(), "{mode} {parallelism}");
        }
    }
}

/// Reads some of a file, changes it, and says what going on is answered with.
async fn changed(kind: &str, rows_max: usize, change: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().expect("makes a folder");
    let name = write(dir.path(), kind, &rows(0..400));
    let spec = spec(dir.path(), &[("path", &format!("*.{kind}"))]);
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    source.poll(rows_max).await.expect("reads");
    if rows_max > 400 {
        assert!(matches!(source.poll(rows_max).await.expect("reads"), Polled::End));
    }
    let path = dir.path().join(&name);
    change(&path);
    match resumed(&spec, &source.position()).await {
        Ok(_) => "goes on".to_owned(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Data, "{error}");
            error.message().replace(&dir.path().display().to_string(), "DIR")
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_what_it_was_is_not_gone_on_with() {
    let cut = |path: &Path| {
        let file = fs::File::options().write(true).open(path).expect("opens");
        file.set_len(100).expect("cuts");
    };
    let spoil = |at: usize| {
        move |path: &Path| {
            let mut bytes = fs::read(path).expect("reads");
            bytes[at] ^= 1;
            fs::write(path, bytes).expect("writes");
        }
    };
    let grow = |path: &Path| append(path, "{\"id\":1000}\n");
    let untouched = |path: &Path| {
        // The same bytes in another file are the same file.
        let bytes = fs::read(path).expect("reads");
        fs::remove_file(path).expect("removes");
        fs::write(path, bytes).expect("writes");
    };
    let gone = |path: &Path| fs::rename(path, path.with_file_name("other.json")).expect("renames");
    let mut says = Vec::new();
    for kind in ["json", "json.zst", "parquet"] {
        says.push(changed(kind, 300, cut).await);
        says.push(changed(kind, 300, spoil(5)).await);
        says.push(changed(kind, 300, untouched).await);
    }
    says.push(changed("json", 300, spoil(10_000)).await);
    says.push(changed("json", 300, grow).await);
    says.push(changed("json", 500, grow).await);
    says.push(changed("json.zst", 300, grow).await);
    says.push(changed("json", 300, gone).await.split(" (").next().unwrap_or_default().to_owned());
    expect![[r#"
        'DIR/f.json' has 100 bytes, 10713 of it had been read: it was cut or replaced
        'DIR/f.json' was replaced: its first 1024 bytes are not those that had been read
        goes on
        'DIR/f.json.zst' has 100 bytes, 2283 of it had been read: it was cut or replaced
        'DIR/f.json.zst' was replaced: its first 1024 bytes are not those that had been read
        goes on
        'DIR/f.parquet' has 100 bytes, 35274 of it had been read: it was cut or replaced
        'DIR/f.parquet' was replaced: its first 1024 bytes are not those that had been read
        goes on
        'DIR/f.json' was replaced: the 1024 bytes before byte 10713 are not those that had been read
        goes on
        goes on
        'DIR/f.json.zst' has 2295 bytes and had 2283 when it was read: it was replaced
        'f.json' was being read"#]]
    .assert_eq(&says.join("\n"));
}

#[tokio::test]
async fn a_last_line_that_grew_after_it_was_read_is_told() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let path = dir.path().join("a.json");
    append(&path, "{\"id\":1}\n{\"id\":2}");
    let spec = spec(dir.path(), &[("path", "a.json")]);
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    assert_eq!(ids(&mut source, 9).await, [1, 2]);
    assert_eq!(ids(&mut resumed(&spec, &source.position()).await.expect("goes on"), 9).await, NONE);
    append(&path, "\n{\"id\":3}");
    let error = resumed(&spec, &source.position()).await.err().expect("is refused");
    assert!(error.message().ends_with("has 26 bytes; its last line ended at byte 17 and has grown since"), "{error}");
}

#[tokio::test]
async fn a_followed_file_that_is_replaced_is_told() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let path = dir.path().join("a.json");
    append(&path, &lines(0..10));
    let spec = spec(dir.path(), &[("path", "a.json"), ("mode", "tail")]);
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    assert_eq!(ids(&mut source, 9).await.len(), 10);
    fs::write(dir.path().join("b"), lines(0..20)).expect("writes");
    fs::rename(dir.path().join("b"), &path).expect("renames");
    assert_eq!(ids(&mut source, 9).await.len(), 10);
    fs::write(dir.path().join("b"), lines(20..40)).expect("writes");
    fs::rename(dir.path().join("b"), &path).expect("renames");
    let error = source.poll(9).await.expect_err("is another file");
    assert_eq!(error.kind(), ErrorKind::Data);
}
