//! Asynchronous operators: order, bounds, epochs, retries, dead letters, and the memory of changing inputs.

use super::fixtures::{GraphBuilder, MemorySource, Step, Store, each, options, rows, timed, values};
use crate::state::StateStore;
use crate::{EngineOptions, RunReport, StateOptions, start};
use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{
    Answer, AsyncOperator, AsyncOperatorSpec, AsyncSettings, Batch, Counter, Edge, Error, ErrorKind, Exchange, Graph,
    NodeBody, OperatorSpec, Output, Reason, Result, TaskContext, Watermark,
};
use object_store::memory::InMemory;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// What the service does with a number: how long it takes and what it says. It is told how often the number was asked
/// for before.
type Behaviour = dyn Fn(i64, u64) -> (Duration, Result<Vec<i64>>) + Send + Sync;

/// A service that is asked for numbers and answers with numbers.
#[derive(Clone)]
pub(super) struct Service {
    behaviour: Arc<Behaviour>,
    settings: AsyncSettings,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    asked: HashMap<i64, u64>,
    in_flight: usize,
    in_flight_max: usize,
    request_rows_max: usize,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

/// Makes a service out of what it does with a number.
pub(super) fn service(
    settings: AsyncSettings,
    behaviour: impl Fn(i64, u64) -> (Duration, Result<Vec<i64>>) + Send + Sync + 'static,
) -> Service {
    Service { behaviour: Arc::new(behaviour), settings, seen: Arc::default() }
}

/// One number a request, so that each has its own fate.
fn single() -> AsyncSettings {
    AsyncSettings { request_rows_max: 1, in_flight_max: 4, ..AsyncSettings::default() }
}

#[async_trait]
impl AsyncOperatorSpec for Service {
    fn describe(&self) -> String {
        "service".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        timed(&[]).schema()
    }

    fn settings(&self) -> AsyncSettings {
        self.settings.clone()
    }

    fn reason(&self) -> Reason {
        Reason::FailedLookup
    }

    async fn open(&self, _: &TaskContext) -> Result<Arc<dyn AsyncOperator>> {
        Ok(Arc::new(self.clone()))
    }
}

/// Leaves the service also when the request is dropped.
struct Visit(Arc<Mutex<Seen>>);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.lock().unwrap().in_flight -= 1;
    }
}

#[async_trait]
impl AsyncOperator for Service {
    async fn answer(&self, rows: RecordBatch) -> Result<Answer> {
        let _visit = {
            let mut seen = self.seen.lock().unwrap();
            seen.in_flight += 1;
            seen.in_flight_max = seen.in_flight_max.max(seen.in_flight);
            seen.request_rows_max = seen.request_rows_max.max(rows.num_rows());
            Visit(self.seen.clone())
        };
        let (mut pause, mut numbers, mut of, mut fault) = (Duration::ZERO, Vec::new(), Vec::new(), None);
        for (row, number) in (0_u32..).zip(values(&rows)) {
            let n_before = {
                let mut seen = self.seen.lock().unwrap();
                let n = seen.asked.entry(number).or_default();
                *n += 1;
                *n - 1
            };
            let (takes, result) = (self.behaviour)(number, n_before);
            pause = pause.max(takes);
            match result {
                Ok(answer) => {
                    of.extend(answer.iter().map(|_| row));
                    numbers.extend(answer);
                }
                Err(error) => fault = Some(error),
            }
        }
        sleep(pause).await;
        match fault {
            Some(error) => Err(error),
            None => {
                let rows = take_record_batch(&rows, &UInt32Array::from(of.clone()))?;
                let columns = vec![Arc::new(Int64Array::from(numbers)) as _, rows.column(1).clone()];
                let rows = RecordBatch::try_new(rows.schema(), columns)?;
                Ok(Answer { rows, of, failed: Vec::new() })
            }
        }
    }
}

/// A source, a service, an operator that looks at what comes out, and a sink.
fn line(source: MemorySource, service: &Service, watch: Arc<dyn OperatorSpec>, store: &Store) -> Graph {
    let mut graph = GraphBuilder::default();
    let source = graph.source("source", source, Some(0));
    let service = graph.graph.add("service", NodeBody::Async(Arc::new(service.clone())), 8);
    let chain = graph.chain("chain", vec![watch], 8);
    let sink = graph.sink("sink", store);
    graph.connect(source, service, Exchange::Hash(vec![0]));
    graph.connect(service, chain, Exchange::Forward);
    graph.connect(chain, sink, Exchange::Forward);
    graph.graph
}

type Order = Arc<Mutex<Vec<i64>>>;

/// Notes the numbers that pass, in their order.
fn watch(order: &Order) -> Arc<dyn OperatorSpec> {
    let order = order.clone();
    each(move |_, batch: Batch, out: &mut Output| {
        order.lock().unwrap().extend(values(&batch.rows));
        out.emit(batch);
        Ok(())
    })
}

async fn run(graph: Graph, options: EngineOptions) -> RunReport {
    let handle = start(graph, options).unwrap();
    timeout(Duration::from_secs(86_400), handle.join()).await.expect("it ends").unwrap()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[tokio::test(start_paused = true)]
async fn ordered_results_leave_in_the_order_of_their_rows_and_others_as_they_come() {
    for ordered in [true, false] {
        let (store, order) = (Store::default(), Order::default());
        // The earlier the number, the longer it takes.
        let service = service(AsyncSettings { ordered, ..single() }, |n, _| (ms(400 - n as u64 * 100), Ok(vec![n])));
        let source = MemorySource::bounded(&[vec![rows(0..4)]], 1);
        run(line(source, &service, watch(&order), &store), options(1)).await;
        let expected = if ordered { [0, 1, 2, 3] } else { [3, 2, 1, 0] };
        assert_eq!(*order.lock().unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_on_their_way_than_are_allowed_and_they_overlap() {
    let store = Store::default();
    let settings = AsyncSettings { request_rows_max: 3, in_flight_max: 5, ..AsyncSettings::default() };
    let service = service(settings, |n, _| (ms(100), Ok(vec![n, n])));
    let source = MemorySource::bounded(&[vec![rows(0..50), rows(50..90)]], 1);
    let began = Instant::now();
    let report = run(line(source, &service, watch(&Order::default()), &store), options(1)).await;
    let mut expected: Vec<i64> = (0..90).flat_map(|n| [n, n]).collect();
    expected.sort_unstable();
    assert_eq!(store.numbers(), expected);
    let seen = service.seen.lock().unwrap();
    assert_eq!((seen.in_flight_max, seen.request_rows_max), (5, 3));
    // 17 and 14 requests, five at a time.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(report.node("service").unwrap().count(Counter::RowsIn), 90);
}

#[tokio::test(start_paused = true)]
async fn what_is_unavailable_is_asked_again_and_what_stays_so_is_a_dead_letter() {
    let (store, letters) = (Store::default(), Store::default());
    let settings = AsyncSettings { tries: 3, timeout: ms(1_000), ..single() };
    let service = service(settings, |n, n_before| match n {
        1 if n_before < 2 => (ms(5), Err(Error::unavailable("refused"))),
        2 => (ms(5), Err(Error::unavailable("refused"))),
        3 if n_before < 1 => (Duration::from_secs(60), Ok(vec![n])),
        4 => (Duration::from_secs(60), Ok(vec![n])),
        _ => (ms(5), Ok(vec![n])),
    });
    let mut options = options(1);
    options.dead_letters = Some(Arc::new(letters.clone()));
    let source = MemorySource::bounded(&[vec![rows(0..6)]], 1);
    let report = run(line(source, &service, watch(&Order::default()), &store), options).await;
    assert_eq!(store.numbers(), [0, 1, 3, 5]);
    let gave_up = "gave up after 3 tries: ";
    let messages = [format!("{gave_up}refused"), format!("{gave_up}no answer within 1s")];
    assert_eq!(letters.texts("message"), messages);
    assert_eq!(letters.texts("payload")[0], r#"{"n":2,"t":"1970-01-01T00:00:00.000000002"}"#);
    assert_eq!(letters.texts("reason"), ["failed_lookup", "failed_lookup"]);
    assert_eq!(report.totals().dead_letters, 2);
    assert_eq!(service.seen.lock().unwrap().asked[&2], 3);
}

#[tokio::test(start_paused = true)]
async fn a_row_at_fault_is_found_among_the_rows_of_its_request() {
    let (store, letters) = (Store::default(), Store::default());
    let settings = AsyncSettings { request_rows_max: 64, ..AsyncSettings::default() };
    let service = service(settings, |n, _| {
        (ms(1), if n % 25 == 7 { Err(Error::data(format!("{n} does not fit"))) } else { Ok(vec![n]) })
    });
    let mut options = options(1);
    options.dead_letters = Some(Arc::new(letters.clone()));
    let source = MemorySource::bounded(&[vec![rows(0..100)]], 1);
    run(line(source, &service, watch(&Order::default()), &store), options).await;
    assert_eq!(store.numbers(), (0..100).filter(|n| n % 25 != 7).collect::<Vec<_>>());
    assert_eq!(letters.texts("message"), [7, 32, 57, 82].map(|n| format!("{n} does not fit")));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_service_itself_ends_the_pipeline() {
    let broken = service(single(), |_, _| (ms(1), Err(Error::conflict("the table is another one"))));
    let source = MemorySource::bounded(&[vec![rows(0..10)]], 1);
    let graph = line(source.clone(), &broken, watch(&Order::default()), &Store::default());
    let error = start(graph, options(1)).unwrap().join().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.to_string(), "pipeline test: node 'service', subtask 0: the table is another one");
    let panicking = service(single(), |_, _| panic!("no such service"));
    let graph = line(source, &panicking, watch(&Order::default()), &Store::default());
    let error = start(graph, options(1)).unwrap().join().await.unwrap_err();
    assert_eq!(error.to_string(), "pipeline test: node 'service', subtask 0: panicked: no such service");
}

#[tokio::test(start_paused = true)]
async fn watermarks_and_barriers_overtake_no_row() {
    for ordered in [true, false] {
        let (store, other) = (Store::default(), Store::default());
        let events: Arc<Mutex<Vec<(i64, bool)>>> = Arc::default();
        let settings = AsyncSettings { ordered, in_flight_max: 8, ..single() };
        let service = service(settings, |n, _| (ms((n as u64 * 7_919) % 900), Ok(vec![n])));
        let mut graph = GraphBuilder::default();
        let script: Vec<Step> = (0..40).flat_map(|n| [rows(n * 5..n * 5 + 5), Step::Pause(ms(150))]).collect();
        let source = graph.source("source", MemorySource::bounded(&[script], 1), Some(0));
        let asked = graph.graph.add("service", NodeBody::Async(Arc::new(service)), 8);
        let chain = graph.chain("chain", vec![Arc::new(Events(events.clone()))], 8);
        let (first, second) = (graph.sink("first", &store), graph.sink("second", &other));
        graph.connect(source, asked, Exchange::Forward);
        graph.connect(asked, chain, Exchange::Forward);
        graph.connect(chain, first, Exchange::Forward);
        graph.connect(source, second, Exchange::Forward);
        run(graph.graph, options(1)).await;
        assert_eq!(store.epochs(), other.epochs(), "each epoch holds the answers of exactly its rows");
        assert!(store.epochs().len() >= 3, "{:?}", store.epochs());
        let mut latest = -1;
        for (time, is_watermark) in events.lock().unwrap().iter() {
            assert!(*is_watermark || *time > latest, "{time} came after the watermark {latest}");
            latest = if *is_watermark { *time } else { latest };
        }
        assert_eq!(latest, i64::MAX);
    }
}

/// Notes rows and watermarks by their event time.
#[derive(Debug)]
struct Events(Arc<Mutex<Vec<(i64, bool)>>>);

impl OperatorSpec for Events {
    fn describe(&self) -> String {
        "events".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        timed(&[]).schema()
    }

    fn build(&self, _: &TaskContext) -> Result<Box<dyn headwater_core::Operator>> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

impl headwater_core::Operator for Events {
    fn on_batch(&mut self, _: usize, batch: Batch, out: &mut Output) -> Result<()> {
        self.0.lock().unwrap().extend(values(&batch.rows).into_iter().map(|n| (n, false)));
        out.emit(batch);
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        if let Watermark::At(time) = watermark {
            self.0.lock().unwrap().push((time.0, true));
        }
        out.watermark(watermark);
        Ok(())
    }
}

/// Turns numbers into changes: a negative number takes its opposite back.
fn as_changes() -> Arc<dyn OperatorSpec> {
    each(|_, batch: Batch, out: &mut Output| {
        let numbers = values(&batch.rows);
        let diffs = Int64Array::from_iter_values(numbers.iter().map(|n| n.signum()));
        let rows = timed(&numbers.iter().map(|n| (n.abs(), Some(n.abs()))).collect::<Vec<_>>());
        out.emit(Batch::changing(rows, diffs)?);
        Ok(())
    })
}

/// Changes that came out, folded.
type Net = Arc<Mutex<HashMap<i64, i64>>>;

fn sorted(net: &Net) -> Vec<(i64, i64)> {
    let net = net.lock().unwrap();
    let mut net: Vec<(i64, i64)> = net.iter().filter(|(_, n)| **n != 0).map(|(a, b)| (*a, *b)).collect();
    net.sort_unstable();
    net
}

/// Runs numbers as changes through a service, and returns the changes that come out, folded.
async fn changed(script: Vec<Step>, service: &Service, parallelism: usize) -> (Vec<(i64, i64)>, u64) {
    let net = Net::default();
    let report = run(changing(script, service, &net), options(parallelism)).await;
    (sorted(&net), report.totals().dead_letters)
}

/// Numbers as changes that a service is asked for; what comes out is folded into `net`.
fn changing(script: Vec<Step>, service: &Service, net: &Net) -> Graph {
    let seen = net.clone();
    let fold = each(move |_, batch: Batch, out: &mut Output| {
        for (row, number) in values(&batch.rows).into_iter().enumerate() {
            *seen.lock().unwrap().entry(number).or_default() += batch.diff(row);
        }
        out.emit(batch);
        Ok(())
    });
    let mut graph = GraphBuilder::default();
    let source = graph.source("source", MemorySource::bounded(&[script], 1), None);
    let changes = graph.chain("changes", vec![as_changes()], 1);
    let asked = graph.graph.add("service", NodeBody::Async(Arc::new(service.clone())), 8);
    let chain = graph.chain("chain", vec![fold], 1);
    let sink = graph.sink("sink", &Store::default());
    graph.connect(source, changes, Exchange::Gather);
    graph.graph.connect(Edge { from: changes, to: asked, input: 0, exchange: Exchange::Hash(vec![0]), changing: true });
    graph.graph.connect(Edge { from: asked, to: chain, input: 0, exchange: Exchange::Gather, changing: true });
    graph.connect(chain, sink, Exchange::Forward);
    graph.graph
}

fn changes(numbers: &[i64]) -> Step {
    Step::Rows(timed(&numbers.iter().map(|n| (*n, Some(0))).collect::<Vec<_>>()))
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_taken_back_takes_back_what_it_brought() {
    for parallelism in [1, 3] {
        // The answer changes with every time that the number is asked for.
        let service = service(single(), |n, n_before| (ms(50 + n as u64), Ok(vec![n * 100 + n_before as i64, n])));
        let script = vec![
            changes(&[1, 2, 3, 2]),
            changes(&[-2]),
            Step::Pause(ms(3_000)),
            changes(&[-1, -2, 4, 5, -4]),
            Step::Pause(ms(10)),
            changes(&[1]),
        ];
        let (net, n_letters) = changed(script, &service, parallelism).await;
        // 1 came anew after it had gone, so it was asked for anew; 3 is still there with its first answer.
        assert_eq!(net, [(1, 1), (3, 1), (5, 1), (101, 1), (300, 1), (500, 1)]);
        assert_eq!(n_letters, 0);
        assert_eq!(service.seen.lock().unwrap().asked[&2], 1, "a row that is there is not asked for again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_takes_back_what_it_brought_before_a_restart_at_another_parallelism() {
    // The answer changes with every time that the number is asked for, and there is none for 9.
    let service = service(single(), |n, n_before| {
        let answer = if n == 9 { Err(Error::data("no")) } else { Ok(vec![n * 100 + n_before as i64, n]) };
        (ms(5), answer)
    });
    let (net, bucket) = (Net::default(), Arc::new(InMemory::new()));
    let parts = [
        changes(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 2]),
        changes(&[-2, -3, 10, -5]),
        changes(&[-1, -2, -4, -6, -7, -9, 5]),
        changes(&[-8, -10]),
    ];
    for (n_parts, parallelism) in [(1, 3), (2, 2), (3, 5), (4, 1)] {
        let mut options = options(parallelism);
        let store = StateStore::new(bucket.clone(), "test");
        options.state = Some(StateOptions::latest(store).await.unwrap());
        run(changing(parts[..n_parts].to_vec(), &service, &net), options).await;
    }
    assert_eq!(sorted(&net), [(5, 1), (501, 1)]);
    let asked = &service.seen.lock().unwrap().asked;
    assert!(asked.iter().all(|(number, n)| *n == if *number == 5 { 2 } else { 1 }), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_failed_is_one_dead_letter_and_its_retraction_none() {
    let service = service(single(), |n, _| (ms(5), if n == 2 { Err(Error::data("no")) } else { Ok(vec![n]) }));
    let (net, n_letters) = changed(vec![changes(&[1, 2, 3]), changes(&[-2, -3])], &service, 1).await;
    assert_eq!((net, n_letters), (vec![(1, 1)], 1));
}

#[tokio::test(start_paused = true)]
async fn a_retraction_that_comes_first_is_made_up_for_by_its_row() {
    let service = service(single(), |n, n_before| (ms(5), Ok(vec![n * 100 + n_before as i64])));
    let (net, _) = changed(vec![changes(&[-7]), Step::Pause(ms(2_000)), changes(&[7, 8])], &service, 1).await;
    assert_eq!(net, [(800, 1)]);
}

#[tokio::test(start_paused = true)]
async fn settings_out_of_range_are_refused_before_anything_runs() {
    let service = service(AsyncSettings { in_flight_max: 0, ..single() }, |n, _| (ms(5), Ok(vec![n])));
    let source = MemorySource::bounded(&[vec![rows(0..3)]], 1);
    let error = start(line(source, &service, watch(&Order::default()), &Store::default()), options(1)).err().unwrap();
    assert!(error.to_string().ends_with("in_flight_max must be greater than zero"), "{error}");
}
