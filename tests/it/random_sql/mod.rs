//! Random queries over random changing tables, against batch DataFusion over the same rows, epoch by epoch: what the
//! stream shows must be the batch answer over exactly the input so far. A failing case is cut down to the part of its
//! query that still fails, and printed with its seed; `HEADWATER_SEED=n` runs that case alone. At random epochs all
//! operators are killed, and what was stored of them goes on at another parallelism.
//!
//! 500 cases by default, 20,500 with `HEADWATER_LONG=1`. One case is a query, two tables and some epochs.

mod data;
mod executor;
mod query;
mod script;
#[path = "../../../operators/src/restarts/model.rs"]
mod stored;
mod subtasks;
mod windows;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use data::Epoch;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use executor::{Executor, Held, N_RESTARTS};
use headwater_core::{EventTime, Registry};
use headwater_sql::{PlanOptions, Planner};
use query::{Maker, Query};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use script::{Feed, Script};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::JoinSet;
use windows::{Windowed, windowed};

const N_CASES: u64 = 500;
/// Some have no batch answer; more than 20,000 are compared.
const N_CASES_LONG: u64 = 20_500;
const N_THREADS: u64 = 2;

/// The tables of all cases: `u` is what is left of a table of versions.
const TABLES: &str = "
CREATE TABLE t (id BIGINT, k BIGINT, v BIGINT, s TEXT, b BOOLEAN, ts TIMESTAMP,
    WATERMARK FOR ts AS ts - INTERVAL '20 seconds') WITH (connector = 'script');
CREATE TABLE versions (id BIGINT PRIMARY KEY, k BIGINT, v BIGINT, s TEXT, b BOOLEAN, ts TIMESTAMP, ver BIGINT,
    deleted BOOLEAN) WITH (connector = 'script', version = 'ver');
CREATE VIEW u AS SELECT id, k, v, s, b, ts FROM versions WHERE NOT deleted;
CREATE TABLE result WITH (connector = 'script');
";

/// How a case went.
#[derive(Debug, PartialEq)]
enum Verdict {
    Equal,
    /// DataFusion has no answer of its own; why.
    NoAnswer(String),
    /// The stream refuses what batch can answer; the message.
    Refused(String),
    Different(String),
}

/// Why cases had no result, and their seeds.
type Reasons = BTreeMap<String, Vec<u64>>;

fn note(reasons: &mut Reasons, why: &str, seed: u64) {
    let first_line = why.lines().next().unwrap_or_default();
    reasons.entry(first_line.chars().take(100).collect()).or_default().push(seed);
}

/// Returns the rows of a batch as text.
fn texts(rows: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("_");
    let columns: Vec<_> =
        rows.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).expect("a column prints")).collect();
    (0..rows.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()).collect()
}

/// Which rules DataFusion may rewrite a query by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rules {
    /// Its own.
    All,
    /// Without those that change what an outer join or an order says.
    Few,
}

/// Answers a query over what some epochs left in the tables.
async fn batch_answer(sql: &str, epochs: &[Epoch], rules: Rules) -> Result<Held, String> {
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false)
        // This rule of DataFusion fails on fields of structs that functions return.
        .set_bool("datafusion.optimizer.enable_leaf_expression_pushdown", false)
        // Without it, a condition on a scalar subquery without rows is true.
        .set_bool("datafusion.optimizer.enable_physical_uncorrelated_scalar_subquery", false);
    let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    let context = SessionContext::new_with_state(state);
    if rules == Rules::Few {
        for rule in ["eliminate_duplicated_expr", "eliminate_outer_join", "push_down_filter"] {
            assert!(context.remove_optimizer_rule(rule), "there is no rule {rule}");
        }
    }
    for function in headwater_operators::functions::all() {
        context.register_udf(function.as_ref().clone());
    }
    for (name, rows) in [("t", data::added(epochs)), ("u", data::current(epochs))] {
        let rows = data::rows(&rows, false);
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).expect("a table");
        context.register_table(name, Arc::new(table)).expect("a new name");
    }
    let answer = async { context.sql(sql).await?.collect().await };
    let batches = answer.await.map_err(|error| error.strip_backtrace())?;
    let mut held = Held::new();
    for row in batches.iter().flat_map(texts) {
        *held.entry(row).or_default() += 1;
    }
    Ok(held)
}

fn difference(expected: &Held, found: &Held) -> Option<String> {
    if expected == found {
        return None;
    }
    let mut text = String::new();
    let rows = expected.keys().chain(found.keys()).collect::<std::collections::BTreeSet<_>>();
    for row in rows {
        let (n, m) = (expected.get(row).copied().unwrap_or(0), found.get(row).copied().unwrap_or(0));
        if n != m {
            text.push_str(&format!("    {}: batch {n}, stream {m}\n", row.join(" | ")));
        }
    }
    Some(text)
}

/// A question to the stream and to batch. `{now}` stands for the time of the epoch, `{closed}` for the first time in
/// nanoseconds that is not closed by the watermark.
#[derive(Clone)]
struct Question<'a> {
    stream: &'a str,
    batch: &'a str,
}

impl Question<'_> {
    async fn answer(&self, epochs: &[Epoch], (watermark, now): (i64, EventTime), rules: Rules) -> Result<Held, String> {
        let closed = watermark.saturating_add(1).to_string();
        let now = format!("arrow_cast({}, 'Timestamp(Nanosecond, None)')", now.0);
        let (sql, epochs) = (self.batch.replace("{closed}", &closed).replace("{now}", &now), epochs.to_vec());
        // DataFusion panics on some queries; those have no batch answer.
        let mut alone = JoinSet::new();
        alone.spawn(async move { batch_answer(&sql, &epochs, rules).await });
        match alone.join_next().await {
            Some(Ok(answer)) => answer,
            other => Err(format!("DataFusion panicked: {other:?}")),
        }
    }
}

/// Runs one query over some epochs, and compares after each of them.
async fn run(question: Question<'_>, epochs: &[Epoch]) -> Verdict {
    let feed = Feed::default();
    let mut registry = Registry::default();
    registry.add(Arc::new(Script(feed.clone())));
    let text = format!("{TABLES}{};", question.stream.replace("{now}", "now()"));
    // What batch cannot answer is no mistake of the stream.
    if let Err(error) = question.answer(epochs, (i64::MAX, EventTime(0)), Rules::All).await {
        return Verdict::NoAnswer(error);
    }
    let graph = match Planner::new(registry).plan(&text, &PlanOptions::default()) {
        Ok(graph) => graph,
        Err(error) => return Verdict::Refused(error.to_string()),
    };
    let mut executor = Executor::new(graph, seed_of(question.stream)).await;
    for n_epochs in 1..=epochs.len() + 1 {
        let (seen, found, watermark) = match epochs.get(n_epochs - 1) {
            Some(epoch) => {
                feed.lock().expect("nobody panics with the feed in hand").push(epoch.clone());
                let found = executor.epoch().await.clone();
                (&epochs[..n_epochs], found, executor.watermark())
            }
            None => (epochs, executor.end().clone(), i64::MAX),
        };
        let times = (watermark, executor.now());
        let expected = match question.answer(seen, times, Rules::All).await {
            Ok(expected) => expected,
            Err(error) => return Verdict::NoAnswer(error),
        };
        if let Some(difference) = difference(&expected, &found) {
            if question.answer(seen, times, Rules::Few).await.is_ok_and(|other| other == found) {
                return Verdict::NoAnswer(
                    "DataFusion answers as the stream does, but not by all of its rules".to_owned(),
                );
            }
            return Verdict::Different(format!("  after epoch {n_epochs} of {}:\n{difference}", epochs.len()));
        }
    }
    match executor.letters.first() {
        Some(letter) => Verdict::Different(format!("  a dead letter: {letter}\n")),
        None => Verdict::Equal,
    }
}

/// The accidents of a query are the same each time, however much it is cut down otherwise.
fn seed_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// As [`run`]; a panic is a difference too.
fn judged(runtime: &tokio::runtime::Runtime, question: Question<'_>, epochs: &[Epoch]) -> Verdict {
    let run = AssertUnwindSafe(|| runtime.block_on(run(question, epochs)));
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Verdict::Different(format!("  panicked: {}\n", text.unwrap_or_default()))
    })
}

/// A case: a question with the parts that it can be cut down to, and the rows that come.
struct Case {
    parts: Vec<Case>,
    stream: String,
    batch: String,
    epochs: Vec<Epoch>,
}

impl Case {
    fn of_query(query: Query, epochs: &[Epoch]) -> Self {
        let parts = query.parts.into_iter().map(|part| Self::of_query(part, epochs)).collect();
        // Early results too: what is asked is asked after every epoch.
        let stream = format!("SET emit = 'changes'; INSERT INTO result {}", query.sql);
        Self { parts, stream, batch: query.sql, epochs: epochs.to_vec() }
    }

    /// Makes the case of a seed: every fourth is about windows whose results are final.
    fn new(seed: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        if seed % 4 == 3 {
            let Windowed { stream, batch } = windowed(&mut chance);
            let n_epochs = chance.random_range(2..6);
            let stream = format!("INSERT INTO result {stream}");
            return Self { parts: Vec::new(), stream, batch, epochs: data::epochs(&mut chance, n_epochs) };
        }
        let depth = chance.random_range(1..4);
        let query = Maker::new(&mut chance).query(depth);
        let n_epochs = chance.random_range(2..5);
        Self::of_query(query, &data::epochs(&mut chance, n_epochs))
    }

    fn judge(&self, runtime: &tokio::runtime::Runtime, epochs: &[Epoch]) -> Verdict {
        judged(runtime, Question { stream: &self.stream, batch: &self.batch }, epochs)
    }

    fn failure(&self, runtime: &tokio::runtime::Runtime, epochs: &[Epoch]) -> Option<String> {
        match self.judge(runtime, epochs) {
            Verdict::Different(text) => Some(text),
            Verdict::Equal | Verdict::NoAnswer(_) | Verdict::Refused(_) => None,
        }
    }

    /// Cuts a failing case down: to a part of the query, then to fewer rows; and describes what is left.
    fn shrunk(&self, runtime: &tokio::runtime::Runtime) -> String {
        let mut case = self;
        while let Some(part) = case.parts.iter().find(|part| part.failure(runtime, &self.epochs).is_some()) {
            case = part;
        }
        let mut rows = self.epochs.clone();
        loop {
            let fewer = without_each_row(&rows).find(|fewer| case.failure(runtime, fewer).is_some());
            let Some(fewer) = fewer else { break };
            rows = fewer;
        }
        let text = case.failure(runtime, &rows).unwrap_or_default();
        let rows: Vec<String> = rows.iter().map(|epoch| format!("  {epoch:?}\n")).collect();
        format!("  {}\n{}{text}", case.stream, rows.concat())
    }
}

/// Returns the epochs with one row less, for each row.
fn without_each_row(epochs: &[Epoch]) -> impl Iterator<Item = Vec<Epoch>> {
    let batches = epochs.iter().enumerate().flat_map(|(n, epoch)| epoch.iter().enumerate().map(move |b| (n, b)));
    let places = batches.flat_map(|(epoch, (batch, (_, rows)))| (0..rows.len()).map(move |row| (epoch, batch, row)));
    places.map(|(epoch, batch, row)| {
        let mut fewer = epochs.to_vec();
        fewer[epoch][batch].1.remove(row);
        fewer[epoch].retain(|(_, rows)| !rows.is_empty());
        fewer
    })
}

fn is_long() -> bool {
    std::env::var_os("HEADWATER_LONG").is_some_and(|value| value == "1")
}

/// How cases went.
#[derive(Default)]
struct Tally {
    n_equal: usize,
    without: Reasons,
    refused: Reasons,
    wrong: Vec<String>,
}

impl Tally {
    fn of(seeds: impl Iterator<Item = u64>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut tally = Self::default();
        for seed in seeds {
            let case = Case::new(seed);
            match case.judge(&runtime, &case.epochs) {
                Verdict::Equal => tally.n_equal += 1,
                Verdict::NoAnswer(why) => note(&mut tally.without, &why, seed),
                Verdict::Refused(why) => {
                    note(&mut tally.refused, why.split_once(": ").map_or(&why, |(_, what)| what), seed);
                }
                Verdict::Different(_) if tally.wrong.len() < 5 => {
                    tally.wrong.push(format!("seed {seed}:\n{}", case.shrunk(&runtime)));
                }
                Verdict::Different(_) => tally.wrong.push(format!("seed {seed}\n")),
            }
        }
        tally
    }

    fn add(&mut self, other: Self) {
        self.n_equal += other.n_equal;
        self.wrong.extend(other.wrong);
        for (all, more) in [(&mut self.without, other.without), (&mut self.refused, other.refused)] {
            more.into_iter().for_each(|(why, seeds)| all.entry(why).or_default().extend(seeds));
        }
    }
}

#[test]
fn random_queries_equal_the_batch_answer_after_every_epoch() {
    let one = std::env::var("HEADWATER_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let n_cases = if is_long() { N_CASES_LONG } else { N_CASES };
    let seeds = one.map_or(0..n_cases, |seed| seed..seed + 1);
    if let Some(seed) = one {
        println!("{}", Case::new(seed).stream);
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let shares: Vec<_> = (0..N_THREADS)
            .map(|n| {
                let seeds = seeds.clone().filter(move |seed| seed % N_THREADS == n);
                scope.spawn(move || Tally::of(seeds))
            })
            .collect();
        shares.into_iter().for_each(|share| tally.add(share.join().expect("panics are caught within")));
    });
    std::panic::set_hook(hook);
    let Tally { n_equal, without, refused, wrong } = tally;
    let count = |reasons: &Reasons| reasons.values().map(Vec::len).sum::<usize>();
    let (n_without, n_refused) = (count(&without), count(&refused));
    println!(
        "{n_equal} cases equal, {} different, {n_refused} refused, {n_without} without a batch answer",
        wrong.len()
    );
    println!("{} restarts", N_RESTARTS.load(Ordering::Relaxed));
    for (what, reasons) in [("without", &without), ("refused", &refused)] {
        reasons.iter().for_each(|(why, seeds)| println!("  {what} {}: {why}, as in seed {}", seeds.len(), seeds[0]));
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
    assert_eq!(n_refused, 0, "the stream refuses what batch answers; see above");
    assert!(n_without * 20 <= n_equal, "too many queries have no batch answer");
}
