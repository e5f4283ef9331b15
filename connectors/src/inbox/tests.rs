//! Tests of the durable inbox: what survives, what is repaired, and what a reader sees.

use super::*;
use arrow::array::AsArray;
use headwater_core::{
    Connector, ErrorKind, EventTime, FixedClock, Options, Polled, Source, TableDefinition, TaskContext,
};

fn context() -> TaskContext {
    let clock = Arc::new(FixedClock::new(EventTime(0)));
    TaskContext::new("p", "n", clock)
}

async fn open_source(dir: &Path, mode: &str) -> Box<dyn Source> {
    let pairs = [("contract", "a.b"), ("mode", mode), ("path", "in"), ("format", "raw")];
    let options: Options = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let table = TableDefinition {
        name: "t".into(),
        schema: Some(crate::formats::raw_schema()),
        primary_key: Vec::new(),
        options,
        base: dir.to_owned(),
    };
    let spec = InboxConnector.source(&table).expect("fits");
    table.options.check_all_known().expect("all options are known");
    spec.open(&context()).await.expect("opens")
}

/// Reads until there is nothing; returns `position=value` of each row and whether it was the end.
async fn drain(source: &mut Box<dyn Source>, rows_max: usize) -> (Vec<String>, bool) {
    let mut lines = Vec::new();
    loop {
        let rows = match source.poll(rows_max).await.expect("reads") {
            Polled::Batch(polled) => polled.batch.rows,
            Polled::Idle => return (lines, false),
            Polled::End => return (lines, true),
        };
        let values = rows.column(0).as_binary::<i32>().iter().flatten();
        for (value, position) in values.zip(rows.column(1).as_string::<i32>().iter().flatten()) {
            lines.push(format!("{position}={}", String::from_utf8_lossy(value)));
        }
    }
}

#[tokio::test]
async fn what_was_appended_is_read_in_order_over_segments() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let inbox = Inbox::with_segment_bytes(dir.path().join("in"), 8).expect("opens");
    for lines in [vec![b"one".as_slice(), b"two"], vec![b"three"], vec![b"four"]] {
        let at = inbox.append("a.b", &lines).expect("appends");
        assert_eq!(at.topic, "a.b");
    }
    inbox.append("other", &[b"x"]).expect("appends");
    assert_eq!(inbox.topics(), ["a.b", "other"]);
    let expected = [
        "a.b/00000001.jsonl:0=one",
        "a.b/00000001.jsonl:4=two",
        "a.b/00000002.jsonl:0=three",
        "a.b/00000002.jsonl:6=four",
    ];
    for rows_max in 1..5 {
        let mut source = open_source(dir.path(), "bounded").await;
        assert_eq!(drain(&mut source, rows_max).await, (expected.map(str::to_owned).to_vec(), true));
    }
    assert_eq!(inbox.append("a.b", &[b"five"]).expect("appends").position(), "a.b/00000003.jsonl:0");
}

#[tokio::test]
async fn positions_resume_between_any_two_rows() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let inbox = Inbox::with_segment_bytes(dir.path().join("in"), 8).expect("opens");
    for number in 0..9 {
        inbox.append("a.b", &[format!("n{number}").as_bytes()]).expect("appends");
    }
    let (all, _) = drain(&mut open_source(dir.path(), "bounded").await, 100).await;
    for n_polls in 0..10 {
        let mut source = open_source(dir.path(), "bounded").await;
        for _ in 0..n_polls {
            source.poll(1).await.expect("reads");
        }
        let mut resumed = open_source(dir.path(), "bounded").await;
        resumed.seek(&source.position()).await.expect("seeks");
        assert_eq!(drain(&mut resumed, 2).await.0, all[n_polls.min(9)..]);
    }
}

#[tokio::test]
async fn bounded_stops_at_the_end_it_found_and_tail_goes_on() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let mut early = open_source(dir.path(), "tail").await;
    assert_eq!(drain(&mut early, 9).await, (vec![], false));
    let inbox = Inbox::with_segment_bytes(dir.path().join("in"), 8).expect("opens");
    inbox.append("a.b", &[b"one"]).expect("appends");
    let mut bounded = open_source(dir.path(), "bounded").await;
    inbox.append("a.b", &[b"two"]).expect("appends");
    inbox.append("a.b", &[b"three"]).expect("appends");
    assert_eq!(drain(&mut bounded, 9).await, (vec!["a.b/00000001.jsonl:0=one".to_owned()], true));
    assert_eq!(drain(&mut early, 1).await.0.len(), 3);
    inbox.append("a.b", &[b"four"]).expect("appends");
    assert_eq!(drain(&mut early, 1).await, (vec!["a.b/00000002.jsonl:6=four".to_owned()], false));
    // An unfinished line is left until it is finished.
    let path = dir.path().join("in/a.b/00000002.jsonl");
    let mut file = File::options().append(true).open(path).expect("opens");
    std::io::Write::write_all(&mut file, b"fi").expect("writes");
    assert_eq!(drain(&mut early, 1).await, (vec![], false));
    std::io::Write::write_all(&mut file, b"ve\n").expect("writes");
    assert_eq!(drain(&mut early, 1).await, (vec!["a.b/00000002.jsonl:11=five".to_owned()], false));
}

#[test]
fn a_torn_last_line_is_cut_at_every_byte() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let path = dir.path().join("a/00000001.jsonl");
    for n_kept in 0..=5 {
        let _ = fs::remove_dir_all(dir.path().join("a"));
        fs::create_dir_all(dir.path().join("a")).expect("makes a folder");
        let torn = [b"whole\n".as_slice(), &b"last\n"[..n_kept]].concat();
        fs::write(&path, torn).expect("writes");
        let inbox = Inbox::open(dir.path()).expect("opens");
        let at = inbox.append("a", &[b"next"]).expect("appends");
        let expected = if n_kept == 5 { "whole\nlast\nnext\n" } else { "whole\nnext\n" };
        assert_eq!(fs::read_to_string(&path).expect("reads"), expected);
        assert_eq!(at.offset as usize, expected.len() - 5);
    }
}

#[test]
fn threads_share_writes_and_no_line_is_lost_or_torn() {
    const THREADS: usize = 8;
    const CALLS: usize = 20;
    let dir = tempfile::tempdir().expect("makes a folder");
    let inbox = Inbox::with_segment_bytes(dir.path(), 1000).expect("opens");
    let positions = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (inbox, positions) = (&inbox, &positions);
            scope.spawn(move || {
                for call in 0..CALLS {
                    let lines = [format!("{thread}-{call}-a"), format!("{thread}-{call}-b")];
                    let bytes: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
                    let at = inbox.append("a", &bytes).expect("appends");
                    positions.lock().expect("no panic").push((at.segment, at.offset, lines.join("\n")));
                }
            });
        }
    });
    let positions = positions.into_inner().expect("no panic");
    assert_eq!(positions.len(), THREADS * CALLS);
    let mut n_bytes = 0;
    for (segment, offset, text) in positions {
        let written = fs::read_to_string(dir.path().join("a").join(segment_name(segment))).expect("reads");
        assert_eq!(&written[offset as usize..][..=text.len()], format!("{text}\n"));
        n_bytes += text.len() + 1;
    }
    let on_disk = segments(&dir.path().join("a")).expect("lists").into_iter();
    let on_disk =
        on_disk.map(|number| dir.path().join("a").join(segment_name(number)).metadata().expect("is there").len());
    assert_eq!(on_disk.sum::<u64>(), n_bytes as u64);
}

#[test]
fn topics_and_lines_that_cannot_be_kept_are_refused() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let inbox = Inbox::open(dir.path().join("in")).expect("opens");
    for topic in ["", "..", ".hidden", "a/b", "../a", "a\\b", "a\0b", "å", &"x".repeat(201)] {
        assert_eq!(inbox.append(topic, &[b"x"]).expect_err("is refused").kind(), ErrorKind::Invalid, "{topic:?}");
    }
    for line in [b"".as_slice(), b"a\nb"] {
        assert_eq!(inbox.append("a", &[b"ok", line]).expect_err("is refused").kind(), ErrorKind::Invalid);
    }
    assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 1);
    assert_eq!(inbox.topics(), [""; 0]);
}

#[test]
fn only_one_process_appends() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let inbox = Inbox::open(dir.path()).expect("opens");
    assert_eq!(Inbox::open(dir.path()).expect_err("is open").kind(), ErrorKind::Conflict);
    drop(inbox);
    Inbox::open(dir.path()).expect("opens again");
}

#[test]
fn a_failed_append_keeps_nothing() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let inbox = Inbox::with_segment_bytes(dir.path(), 4).expect("opens");
    inbox.append("a", &[b"one"]).expect("appends");
    // A folder in the place of the next segment: it cannot be opened.
    fs::create_dir(dir.path().join("a/00000002.jsonl")).expect("makes a folder");
    assert_eq!(inbox.append("a", &[b"two"]).expect_err("fails").kind(), ErrorKind::Unavailable);
    assert_eq!(fs::read_to_string(dir.path().join("a/00000001.jsonl")).expect("reads"), "one\n");
    fs::remove_dir(dir.path().join("a/00000002.jsonl")).expect("removes");
    assert_eq!(inbox.append("a", &[b"two"]).expect("appends").position(), "a/00000002.jsonl:0");
}
