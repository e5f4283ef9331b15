//! Asynchronous functions in whole pipelines, with services that are slow, away, wrong or moody. Time is tokio's and
//! stands still but for the pauses that somebody takes.

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use headwater_core::{Error, ErrorKind, Reason, Registry, Result, SystemClock};
use headwater_engine::{EngineOptions, RunReport, start};
use headwater_sql::{AsyncFunction, PlanOptions, Planner};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;

const NUMBERS: &str = "
CREATE TABLE numbers (n BIGINT, k BIGINT) WITH (connector = 'single_file', path = 'numbers.json', format = 'json');
CREATE TABLE out WITH (connector = 'single_file', path = 'out.json', format = 'json', type = 'sink');
INSERT INTO out ";

/// A function over whole numbers out of what it does with one; it is told how often it was asked for the number before.
fn function(
    name: &str,
    answer: impl Fn(i64, u64) -> (Duration, Result<i64>) + Send + Sync + 'static,
) -> (AsyncFunction, Arc<Mutex<HashMap<i64, u64>>>) {
    let asked: Arc<Mutex<HashMap<i64, u64>>> = Arc::default();
    let (answer, seen) = (Arc::new(answer), asked.clone());
    let call = move |arguments: Vec<ArrayRef>| {
        let (answer, seen) = (answer.clone(), seen.clone());
        async move {
            let mut answers = Vec::new();
            for number in arguments[0].as_primitive::<Int64Type>().values() {
                let n_before = {
                    let mut seen = seen.lock().expect("nobody panics");
                    let n = seen.entry(*number).or_default();
                    *n += 1;
                    *n - 1
                };
                let (pause, result) = answer(*number, n_before);
                sleep(pause).await;
                answers.push(result?);
            }
            Ok(Arc::new(Int64Array::from(answers)) as ArrayRef)
        }
    };
    (AsyncFunction::new(name, vec![DataType::Int64], DataType::Int64, call), asked)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn planner(functions: impl IntoIterator<Item = AsyncFunction>) -> Result<Planner> {
    let mut registry = Registry::default();
    headwater_connectors::connectors().into_iter().chain(headwater_sinks::connectors()).for_each(|c| registry.add(c));
    Planner::new(registry).with_async_functions(functions)
}

/// Runs a query over the numbers 0 to 19 and returns its lines, sorted, and what was counted.
async fn run(query: &str, functions: Vec<AsyncFunction>, parallelism: usize) -> Result<(Vec<String>, RunReport)> {
    let place = TempDir::new().expect("a temporary folder");
    let lines: Vec<String> = (0..20).map(|n| format!(r#"{{"n": {n}, "k": {}}}"#, n % 3)).collect();
    std::fs::write(place.path().join("numbers.json"), lines.join("\n")).expect("the input is written");
    let plan = PlanOptions { pipeline: String::new(), base: place.path().to_owned() };
    let graph = planner(functions)?.plan(&format!("{NUMBERS}{query};"), &plan)?;
    let mut options = EngineOptions::new("test", Arc::new(SystemClock));
    options.parallelism = parallelism;
    options.batch_rows_max = 7;
    let report = start(graph, options)?.join().await?;
    let text = std::fs::read_to_string(place.path().join("out.json")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Ok((lines, report))
}

fn lines(rows: impl Iterator<Item = (i64, i64)>) -> Vec<String> {
    let mut lines: Vec<String> = rows.map(|(n, x)| format!(r#"{{"n":{n},"x":{x}}}"#)).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test(start_paused = true)]
async fn calls_stand_wherever_a_projection_or_a_filter_does() {
    let twice = || function("twice", |n, _| (ms(n as u64 % 7), Ok(n * 2))).0.request_rows_max(3);
    let next = || function("next", |n, _| (ms(5), Ok(n + 1))).0.unordered().request_rows_max(1);
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("SELECT n, twice(n) AS x FROM numbers", lines((0..20).map(|n| (n, n * 2)))),
        ("SELECT n, twice(next(n) + 1) - next(n) AS x FROM numbers", lines((0..20).map(|n| (n, (n + 2) * 2 - n - 1)))),
        ("SELECT n, k AS x FROM numbers WHERE twice(n) > 30", lines((16..20).map(|n| (n, n % 3)))),
        (
            "SELECT n, x FROM (SELECT n, twice(n) AS x FROM numbers) WHERE x > 30 AND n < 19",
            lines((16..19).map(|n| (n, n * 2))),
        ),
        (
            "SELECT a.n, b.n AS x FROM numbers a JOIN numbers b ON twice(a.n) = b.n AND b.n > 4",
            lines((3..10).map(|n| (n, n * 2))),
        ),
        (
            "SELECT CASE WHEN next(n) % 2 = 0 THEN n ELSE 0 END AS n, 1 AS x FROM numbers WHERE n = 3",
            lines([(3, 1)].into_iter()),
        ),
    ];
    for (query, expected) in cases {
        for parallelism in [1, 3] {
            let (found, report) = run(query, vec![twice(), next()], parallelism).await.expect("it runs");
            assert_eq!((found, report.totals().dead_letters), (expected.clone(), 0), "{query}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slow_failing_and_short_answers_cost_the_rows_that_they_are_about() {
    let (service, asked) = function("service", |n, n_before| match n {
        // Slow once; slow for ever; away once; away for ever; wrong.
        2 if n_before == 0 => (Duration::from_secs(60), Ok(n)),
        3 => (Duration::from_secs(60), Ok(n)),
        5 if n_before == 0 => (ms(1), Err(Error::unavailable("busy"))),
        7 => (ms(1), Err(Error::unavailable("gone"))),
        11 => (ms(1), Err(Error::invalid("eleven is not served"))),
        _ => (ms(1), Ok(n * 10)),
    });
    let service = service.timeout(ms(500)).tries(3).request_rows_max(1).in_flight_max(4);
    let (found, report) = run("SELECT n, service(n) AS x FROM numbers", vec![service], 1).await.expect("it runs");
    let served = (0..20).filter(|n| ![3, 7, 11].contains(n));
    assert_eq!(found, lines(served.map(|n| (n, n * 10))));
    assert_eq!(report.dead_letters, [(Reason::FailedUdf, 3)]);
    let asked = asked.lock().expect("nobody panics").clone();
    assert_eq!((asked[&7], asked[&11]), (3, 1));
    let letters = &report.dead_letters_kept;
    let messages: Vec<String> = letters
        .iter()
        .flat_map(|rows| {
            rows.column_by_name("message").expect("a column").as_string::<i32>().iter().flatten().map(str::to_owned)
        })
        .collect();
    let expected =
        ["gave up after 3 tries: no answer within 500ms", "gave up after 3 tries: gone", "eleven is not served"];
    assert_eq!(messages, expected);

    // Whoever has 13 among its arguments answers with one value too few.
    let short = AsyncFunction::new("short", vec![DataType::Int64], DataType::Int64, |arguments| async move {
        let all = arguments[0].as_primitive::<Int64Type>().clone();
        let n = all.len() - usize::from(all.values().contains(&13));
        Ok(Arc::new(all.slice(0, n)) as ArrayRef)
    });
    let (found, report) = run("SELECT n, short(n) AS x FROM numbers", vec![short], 1).await.expect("it runs");
    assert_eq!(found, lines((0..20).filter(|n| *n != 13).map(|n| (n, n))));
    assert_eq!(report.dead_letters, [(Reason::FailedUdf, 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_changes_is_answered_once_and_taken_back_as_it_was() {
    // A moody service: the answer depends on how often it was asked.
    let calls = Arc::new(Mutex::new(0_i64));
    let seen = calls.clone();
    let moody = AsyncFunction::new("moody", vec![DataType::Int64], DataType::Int64, move |arguments| {
        let seen = seen.clone();
        async move {
            let mut calls = seen.lock().expect("nobody panics");
            *calls += 1;
            Ok(Arc::new(Int64Array::from(vec![*calls; arguments[0].len()])) as ArrayRef)
        }
    });
    // Counts change with every epoch that brings rows; what is left over all of them must be no row taken back twice.
    let query = "SELECT count(*) AS n, sum(x - x) AS x FROM (SELECT k, moody(count(*)) AS x FROM numbers GROUP BY k)";
    let place = TempDir::new().expect("a temporary folder");
    let lines: Vec<String> = (0..300).map(|n| format!(r#"{{"n": {n}, "k": {}}}"#, n % 3)).collect();
    std::fs::write(place.path().join("numbers.json"), lines.join("\n")).expect("the input is written");
    let sql = format!(
        "CREATE TABLE numbers (n BIGINT, k BIGINT) WITH (connector = 'single_file', path = 'numbers.json', format = 'json');
         CREATE TABLE out (n BIGINT, x BIGINT, PRIMARY KEY (n)) WITH (connector = 'sqlite', path = 'out.db');
         INSERT INTO out {query};"
    );
    let plan = PlanOptions { pipeline: String::new(), base: place.path().to_owned() };
    let graph = planner([moody]).expect("a planner").plan(&sql, &plan).expect("a plan");
    let mut options = EngineOptions::new("test", Arc::new(SystemClock));
    (options.batch_rows_max, options.channel_rows_max, options.flush_interval) = (5, 5, ms(1));
    start(graph, options).expect("it starts").join().await.expect("it runs");
    let store = rusqlite::Connection::open(place.path().join("out.db")).expect("the sink is there");
    let rows: Vec<(i64, i64)> = store
        .prepare("SELECT n, x FROM out")
        .and_then(|mut statement| statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .expect("rows");
    assert_eq!(rows, [(3, 0)]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_is_refused_with_its_place() {
    let twice = || function("twice", |n, _| (ms(1), Ok(n * 2))).0;
    for (query, message) in [
        ("SELECT sum(twice(n)) AS x FROM numbers", "the asynchronous function 'twice' cannot be called here"),
        (
            "SELECT a.n FROM numbers a JOIN numbers b ON a.n = b.n AND twice(a.n) > b.k",
            "the asynchronous function 'twice' cannot be called here",
        ),
        ("SELECT twice(n, 1) AS x FROM numbers", "twice takes 1 arguments, not 2"),
        ("SELECT twice(CAST(n AS TEXT)) AS x FROM numbers", "argument 1 of twice is Utf8, not Int64"),
    ] {
        let error = run(query, vec![twice()], 1).await.expect_err(query);
        assert_eq!((error.message(), error.kind()), (message, ErrorKind::Invalid), "{query}");
        assert!(error.span().is_some_and(|span| span.line == 4) && error.help().is_some(), "{error}");
    }
    let error = planner([twice(), twice()]).err().expect("the name is taken");
    assert_eq!(error.message(), "there is a function 'twice' already");
    let error = planner([twice().tries(0)]).err().expect("no try at all");
    assert_eq!(error.to_string(), "function 'twice': tries must be greater than zero");
    let wrong = AsyncFunction::new("wrong", vec![DataType::Int64], DataType::Utf8, |arguments| async move {
        Ok(arguments[0].clone())
    });
    let error = run("SELECT n, wrong(n) AS x FROM numbers", vec![wrong], 1).await.expect_err("another type");
    assert!(error.to_string().contains("wrong answered with Int64, but is declared to return Utf8"), "{error}");
}
