//! What goes wrong ends the pipeline with its cause, or is tried again without losing anything. Nothing hangs.

use super::fixtures::{Call, GraphBuilder, MemorySource, Step, Store, each, options, rows, values};
use crate::{EngineOptions, start};
use headwater_core::{Batch, Error, ErrorKind, Graph, OperatorSpec, Output, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Rows without end, in small batches, through small channels: everybody is busy or waits for somebody.
fn busy(operators: Vec<Arc<dyn OperatorSpec>>, store: &Store) -> (Graph, EngineOptions) {
    let script: Vec<Step> = (0..2_000).map(|n| rows(n * 10..n * 10 + 10)).collect();
    let mut options = options(3);
    options.channel_rows_max = 20;
    let source = MemorySource::bounded(&[script.clone(), script.clone(), script], 3);
    (GraphBuilder::line(source, operators, store), options)
}

async fn failure(graph: Graph, options: EngineOptions) -> Error {
    let handle = start(graph, options).unwrap();
    let result = timeout(Duration::from_secs(3_600), handle.join()).await.expect("a failed pipeline ends");
    assert!(!handle.replayed().await, "who waits for a failed pipeline gets an answer");
    result.unwrap_err()
}

fn on_number(number: i64, fail: fn() -> Result<()>) -> Arc<dyn OperatorSpec> {
    each(move |_, batch: Batch, out: &mut Output| {
        if values(&batch.rows).contains(&number) {
            fail()?;
        }
        out.emit(batch);
        Ok(())
    })
}

#[tokio::test(start_paused = true)]
async fn a_failing_operator_ends_the_pipeline_with_its_error_and_place() {
    let (graph, options) = busy(vec![on_number(777, || Err(Error::data("777 is cursed")))], &Store::default());
    let error = failure(graph, options).await;
    assert_eq!(error.kind(), ErrorKind::Data);
    let text = error.to_string();
    assert!(text.starts_with("pipeline test: node 'chain', subtask "), "{text}");
    assert!(text.ends_with(": 777 is cursed"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_panicking_operator_is_an_internal_error() {
    let (graph, options) = busy(vec![on_number(777, || panic!("777 is {}", "cursed"))], &Store::default());
    let error = failure(graph, options).await;
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().ends_with(": panicked: 777 is cursed"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_cause_wins_on_several_threads_too() {
    for _ in 0..20 {
        let (graph, options) = busy(vec![on_number(777, || panic!("cursed"))], &Store::default());
        let error = failure(graph, options).await;
        assert!(error.to_string().ends_with(": panicked: cursed"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_sink_ends_the_pipeline_whatever_it_was_doing() {
    for call in [Call::Open, Call::Write, Call::Prepare, Call::Commit] {
        let store = Store::with_faults([(call, Error::conflict("the table is another one"))]);
        let (graph, options) = busy(Vec::new(), &store);
        let error = failure(graph, options).await;
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().starts_with("pipeline test: node 'sink', subtask "), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_or_panicking_source_ends_the_pipeline() {
    for (step, message) in [(Step::Fail(Error::data("torn")), "torn"), (Step::Panic, "panicked: the source is broken")]
    {
        let source = MemorySource::bounded(&[vec![rows(0..3), step]], 1);
        let error = failure(GraphBuilder::line(source, Vec::new(), &Store::default()), options(2)).await;
        assert_eq!(error.to_string(), format!("pipeline test: node 'source', subtask 0: {message}"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_sink_is_tried_again_and_loses_nothing() {
    let away = |call| (call, Error::unavailable("connection refused"));
    let faults = [Call::Write, Call::Write, Call::Write, Call::Prepare, Call::Commit, Call::Commit].map(away);
    let store = Store::with_faults(faults);
    let source = MemorySource::bounded(&[(0..50).map(|n| rows(n * 10..n * 10 + 10)).collect()], 1);
    start(GraphBuilder::line(source, Vec::new(), &store), options(1)).unwrap().join().await.unwrap();
    assert!(store.0.lock().unwrap().faults.is_empty(), "all faults were met");
    assert_eq!(store.numbers(), (0..500).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_stays_unavailable_is_given_up() {
    let away = (Call::Write, Error::unavailable("connection refused"));
    let store = Store::with_faults(std::iter::repeat_n(away, 100));
    let source = MemorySource::bounded(&[vec![rows(0..3)]], 1);
    let error = failure(GraphBuilder::line(source, Vec::new(), &store), options(1)).await;
    let expected = "pipeline test: node 'sink', subtask 0: gave up after 70 tries: connection refused";
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_source_is_tried_again_and_holds_up_no_epoch() {
    let store = Store::default();
    let fail = Step::Fail(Error::unavailable("no route"));
    let mut script = vec![rows(0..10)];
    script.extend(std::iter::repeat_n(fail, 9));
    script.push(rows(10..20));
    let source = MemorySource::bounded(&[script], 1);
    let began = Instant::now();
    let handle = start(GraphBuilder::line(source, Vec::new(), &store), options(1)).unwrap();
    let mut committed = handle.committed();
    committed.wait_for(Option::is_some).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "the first epoch ends while the source is away");
    assert_eq!(store.numbers(), (0..10).collect::<Vec<_>>());
    handle.join().await.unwrap();
    assert_eq!(store.numbers(), (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_ends_everything() {
    let store = Store::default();
    store.0.lock().unwrap().write_pause = Duration::from_secs(1);
    let (graph, options) = busy(Vec::new(), &store);
    let handle = start(graph, options).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    drop(handle);
    tokio::task::yield_now().await;
    let written = store.0.lock().unwrap().n_written;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(written > 0);
    assert_eq!(store.0.lock().unwrap().n_written, written);
}
