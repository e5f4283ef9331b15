//! The one function that every source must pass.

use super::context;
use headwater_core::{Error, ErrorKind, Polled, Position, Source, SourceSpec};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// More polls than any test here needs: a source that does not end fails instead of hanging.
const POLLS_MAX: usize = 20_000;
/// How many positions of a script are gone on from.
const POSITIONS_MAX: usize = 24;

/// A source to check. Between two calls of `fresh` nothing of an earlier one may be left that matters.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// The source, over input that does not change.
    pub(super) spec: Arc<dyn SourceSpec>,
    /// What opening or polling a source answers whose address leads nowhere, and its kind.
    pub(super) bad_address: (Arc<dyn SourceSpec>, ErrorKind),
    /// Declarations that must be refused.
    pub(super) refused: Vec<Result<Arc<dyn SourceSpec>, Error>>,
    /// Whether the order of rows is the same in every run at one parallelism.
    pub(super) parallelisms: &'static [usize],
}

/// Rows as text, each as often as it was there.
pub(super) type Rows = BTreeMap<String, i64>;

fn add(rows: &mut Rows, polled: &headwater_core::SourceBatch) {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(&polled.batch.rows).expect("rows are JSON");
    writer.finish().expect("rows are JSON");
    let text = String::from_utf8(writer.into_inner()).expect("JSON is text");
    text.lines().for_each(|line| *rows.entry(line.to_owned()).or_default() += 1);
    polled.dead_letters.iter().for_each(|letter| *rows.entry(format!("dead letter {letter:?}")).or_default() += 1);
}

fn sum(a: &Rows, b: &Rows) -> Rows {
    let mut sum = a.clone();
    b.iter().for_each(|(row, n)| *sum.entry(row.clone()).or_default() += n);
    sum
}

/// Numbers by chance, the same ones in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % n).expect("is small")
    }
}

/// Polls once; returns whether there was nothing more.
async fn poll(source: &mut dyn Source, rows_max: usize, rows: &mut Rows) -> bool {
    match source.poll(rows_max).await.expect("reads") {
        Polled::Batch(polled) => {
            let n_rows = polled.batch.n_rows() + polled.dead_letters.len();
            assert!(n_rows <= rows_max, "{n_rows} rows where {rows_max} were asked for");
            add(rows, &polled);
            false
        }
        Polled::Idle | Polled::End => true,
    }
}

/// Begins a poll and drops it, unless it is ready at once.
async fn poll_and_drop(source: &mut dyn Source, rows_max: usize, rows: &mut Rows) {
    let ready = {
        let mut future = pin!(source.poll(rows_max));
        let mut found = None;
        // A few turns of the runtime, so that it is dropped at different places.
        for _ in 0..3 {
            if let Poll::Ready(polled) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                found = Some(polled);
                break;
            }
            tokio::task::yield_now().await;
        }
        found
    };
    if let Some(Polled::Batch(polled)) = ready.map(|polled| polled.expect("reads")) {
        add(rows, &polled);
    }
}

async fn rest(source: &mut dyn Source, rows_max: usize) -> Rows {
    let mut rows = Rows::new();
    for _ in 0..POLLS_MAX {
        if poll(source, rows_max, &mut rows).await {
            return rows;
        }
    }
    panic!("no end after {POLLS_MAX} polls")
}

/// Sends a position through the form in which a checkpoint keeps it.
fn kept(position: &Position) -> Position {
    let text = serde_json::to_string(position).expect("is JSON");
    serde_json::from_str(&text).expect("is a position")
}

async fn resumed(spec: &dyn SourceSpec, subtask: usize, parallelism: usize, position: &Position) -> Box<dyn Source> {
    let mut source = spec.open(&context(subtask, parallelism)).await.expect("opens");
    source.seek(&kept(position)).await.expect("seeks");
    source
}

/// Everything that the source has.
pub(super) async fn all(spec: &dyn SourceSpec) -> Rows {
    rest(spec.open(&context(0, 1)).await.expect("opens").as_mut(), 1000).await
}

/// A script of polls of many sizes, some of which are dropped; from each position on the rest is what is left.
async fn positions_are_exact(case: &Case, expected: &Rows, seed: u64) {
    let mut chance = Chance(seed);
    let mut source = case.spec.open(&context(0, 1)).await.expect("opens");
    let (mut rows, mut positions) = (Rows::new(), Vec::new());
    for n_polls in 0..POLLS_MAX {
        assert!(n_polls + 1 < POLLS_MAX, "{}: no end", case.name);
        if !source.holds_barrier() {
            positions.push((source.position(), rows.clone()));
            assert_eq!(source.position(), positions[positions.len() - 1].0, "{}: asking changes nothing", case.name);
        }
        let rows_max = [1, 2, 3, 7, 50][chance.below(5)];
        match chance.below(3) {
            0 => poll_and_drop(source.as_mut(), rows_max, &mut rows).await,
            _ if poll(source.as_mut(), rows_max, &mut rows).await => break,
            _ => {}
        }
    }
    assert_eq!(&rows, expected, "{}: polled by chance", case.name);
    positions.push((source.position(), rows));
    let step = positions.len().div_ceil(POSITIONS_MAX).max(1);
    for (position, before) in positions.iter().rev().step_by(step) {
        let after = rest(resumed(case.spec.as_ref(), 0, 1, position).await.as_mut(), 1 + chance.below(60)).await;
        assert_eq!(&sum(before, &after), expected, "{}: from {position:?} on", case.name);
    }
}

/// What was acknowledged may be acknowledged again, and is not asked for.
async fn acks_repeat(case: &Case, expected: &Rows) {
    let mut source = case.spec.open(&context(0, 1)).await.expect("opens");
    let (mut rows, mut acked) = (Rows::new(), (Position::default(), Rows::new()));
    for number in 0..POLLS_MAX {
        let ended = poll(source.as_mut(), 13, &mut rows).await;
        if !source.holds_barrier() && number % 3 == 0 {
            acked = (source.position(), rows.clone());
            for _ in 0..2 {
                source.ack(&acked.0).await.expect("acknowledges");
            }
        }
        if ended {
            break;
        }
    }
    assert_eq!(&rows, expected, "{}: with acknowledgements", case.name);
    let mut source = resumed(case.spec.as_ref(), 0, 1, &acked.0).await;
    source.ack(&acked.0).await.expect("acknowledges after a restart");
    let after = rest(source.as_mut(), 5).await;
    assert_eq!(&sum(&acked.1, &after), expected, "{}: after {:?}", case.name, acked.0);
}

/// Every parallelism has all rows once, and any other goes on from its positions.
async fn parallelisms_are_equal(case: &Case, expected: &Rows) {
    for from in case.parallelisms {
        let (mut rows, mut position) = (Rows::new(), Position::default());
        for subtask in 0..*from {
            let mut source = case.spec.open(&context(subtask, *from)).await.expect("opens");
            for _ in 0..=subtask + 1 {
                poll(source.as_mut(), 4, &mut rows).await;
            }
            while source.holds_barrier() {
                poll(source.as_mut(), 4, &mut rows).await;
            }
            position.0.extend(source.position().0);
        }
        for to in case.parallelisms {
            let mut all = rows.clone();
            for subtask in 0..*to {
                let mut source = resumed(case.spec.as_ref(), subtask, *to, &position).await;
                all = sum(&all, &rest(source.as_mut(), 9).await);
            }
            assert_eq!(&all, expected, "{}: from {from} subtasks to {to}", case.name);
        }
    }
}

/// Where nothing is, an error says so with its kind, at the latest at the first poll.
async fn a_bad_address_is_told(case: &Case) {
    let (spec, kind) = &case.bad_address;
    let error = match spec.open(&context(0, 1)).await {
        Err(error) => error,
        Ok(mut source) => source.poll(10).await.expect_err("nothing is there"),
    };
    assert_eq!(error.kind(), *kind, "{}: {error}", case.name);
    assert!(!error.to_string().contains("s3cret") && !spec.describe().contains("s3cret"), "{}: {error}", case.name);
}

/// Checks a source; returns all its rows.
pub(super) async fn check(case: Case) -> Rows {
    let expected = all(case.spec.as_ref()).await;
    assert!(expected.len() > 20, "{}: {} rows say little", case.name, expected.len());
    assert_eq!(all(case.spec.as_ref()).await, expected, "{}: twice", case.name);
    for seed in 0..4 {
        positions_are_exact(&case, &expected, seed).await;
    }
    parallelisms_are_equal(&case, &expected).await;
    acks_repeat(&case, &expected).await;
    a_bad_address_is_told(&case).await;
    for (number, refused) in case.refused.iter().enumerate() {
        let error = refused.as_ref().err().unwrap_or_else(|| panic!("{}: declaration {number} is taken", case.name));
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}: {error}", case.name);
        assert!(error.help().is_some(), "{}: {error}", case.name);
    }
    expected
}
