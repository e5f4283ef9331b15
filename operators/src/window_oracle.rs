//! The oracle of windows: rows come out of order and some of them late, and what is left in the end is what DataFusion
//! computes in one go over the rows that were not refused. Panes are held against copies.
//!
//! It never looks into an operator: it feeds chains of them, and compares tables and dead letters.

use crate::functions::WindowRule;
use crate::oracle::{N_CASES, Table, aggregate, batch_answer};
use crate::restarts::{Restarting, restarting};
use crate::testing::{barrier, batch, expr, schema};
use crate::{Aggregate, Emit, Late, Project, Session, SessionConfig, Unnest, UnnestColumns, WindowColumn, Windowing};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use headwater_core::{Batch, EventTime, Message, Operator, OperatorSpec, Output, Watermark};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Aggregates with every kind of state.
const CALLS: &str = "count(*), sum(v), avg(v), min(v), max(v), count(distinct v), sum(v) FILTER (WHERE v > 2), median(v), \
    bit_and(v), sum(distinct v), approx_distinct(v), bit_xor(v), string_agg(s, ',' ORDER BY s DESC), array_agg(v ORDER BY v)";
const COLUMNS: &str = "id int, k int, t time, v int, s text";
const N_STEPS: i64 = 10;

/// Operators one after the other.
struct Chain<'a> {
    operators: Vec<Restarting<'a>>,
    table: Table,
    /// The dead letters so far: which operator, and the whole letter as text.
    letters: Vec<(usize, String)>,
}

impl<'a> Chain<'a> {
    /// Makes it of operators, each with the columns by which its rows find their subtask.
    fn new(specs: &[(&'a dyn OperatorSpec, &[usize])], seed: u64) -> Self {
        let operators = specs.iter().map(|(spec, route)| restarting(*spec, &[route], seed)).collect();
        Self { operators, table: Table::default(), letters: Vec::new() }
    }

    fn batch(&mut self, batch: Batch) {
        self.pass(0, vec![Message::Batch(batch)]);
    }

    fn watermark(&mut self, time: i64) {
        self.pass(0, vec![Message::Watermark(Watermark::At(EventTime(time)))]);
    }

    fn barrier(&mut self, epoch: u64) {
        for index in 0..self.operators.len() {
            let mut out = Output::default();
            barrier(&mut self.operators[index], epoch, &mut out);
            self.collect(index, &mut out);
        }
    }

    fn pass(&mut self, index: usize, messages: Vec<Message>) {
        if index == self.operators.len() {
            for message in messages {
                if let Message::Batch(batch) = message {
                    self.table.apply(&batch);
                }
            }
            return;
        }
        for message in messages {
            let mut out = Output::default();
            let operator = &mut self.operators[index];
            match message {
                Message::Batch(batch) => operator.on_batch(0, batch, &mut out).expect("a good batch"),
                Message::Watermark(watermark) => operator.on_watermark(watermark, &mut out).expect("a good watermark"),
                Message::Barrier(_) | Message::End => panic!("an operator must not emit {message:?}"),
            }
            self.collect(index, &mut out);
        }
    }

    fn collect(&mut self, index: usize, out: &mut Output) {
        let letters = out.take_dead_letters().into_iter();
        self.letters.extend(letters.map(|letter| (index, format!("{}: {}", letter.message, letter.payload))));
        self.pass(index + 1, out.take_messages());
    }

    fn n_kept(&self) -> u64 {
        self.operators.iter().map(|operator| operator.state_size().rows).sum()
    }
}

/// Compares tables, and shows no more than where they differ.
fn assert_same(found: &Table, expected: &Table, case: &str) {
    let only = |a: &Table, b: &Table| -> Vec<String> {
        a.0.iter().filter(|(row, n)| b.0.get(*row) != Some(n)).map(|(row, n)| format!("{n} times {row}")).collect()
    };
    let (more, less) = (only(found, expected), only(expected, found));
    assert!(found == expected, "{case}\nfound:\n{}expected:\n{}", more.concat(), less.concat());
}

type Row = Vec<Option<String>>;

/// What happens at random, the same for every chain that is compared.
enum Event {
    Rows(Vec<(i64, Row)>),
    Watermark(i64),
    Barrier(u64),
}

/// Makes rows with times around the watermark, up to `late` behind it.
fn events(seed: u64, late: i64, changing: bool) -> Vec<Event> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut events, mut there, mut n): (Vec<Event>, Vec<Row>, i64) = (Vec::new(), Vec::new(), 0);
    for step in 1..=N_STEPS {
        let watermark = step * 6;
        for _ in 0..rng.random_range(0..4) {
            let mut rows = Vec::new();
            for _ in 0..rng.random_range(1..6) {
                if changing && !there.is_empty() && rng.random_bool(0.25) {
                    rows.push((-1, there.swap_remove(rng.random_range(0..there.len()))));
                    continue;
                }
                n += 1;
                let time = watermark - 5 - late + rng.random_range(0..25 + late);
                let time = rng.random_bool(0.97).then(|| time.to_string());
                let value = rng.random_bool(0.9).then(|| rng.random_range(0..7).to_string());
                let text = Some(["x", "y", "z"][rng.random_range(0..3)].to_owned());
                let row = vec![Some(n.to_string()), Some(rng.random_range(0..3).to_string()), time, value, text];
                there.push(row.clone());
                rows.push((1, row));
            }
            events.push(Event::Rows(rows));
        }
        events.push(Event::Watermark(if step == N_STEPS { i64::MAX } else { watermark }));
        events.push(Event::Barrier(step as u64));
    }
    events
}

/// Feeds a chain. Returns the rows that are there in the end and were not refused by the first operator.
fn feed(chain: &mut Chain<'_>, events: &[Event], schema: &SchemaRef) -> Vec<Row> {
    let mut there: Vec<Row> = Vec::new();
    let mut refused: Vec<Row> = Vec::new();
    for event in events {
        match event {
            Event::Rows(rows) => {
                for (diff, row) in rows {
                    // A row that was refused is not taken back.
                    if *diff < 0 && refused.contains(row) {
                        continue;
                    }
                    let n_letters = chain.letters.len();
                    chain.batch(batch(schema, &[(*diff, row.clone())]));
                    let is_refused = chain.letters.len() > n_letters;
                    match (*diff > 0, is_refused) {
                        (true, true) => refused.push(row.clone()),
                        (true, false) => there.push(row.clone()),
                        (false, true) => {}
                        (false, false) => there.retain(|other| other != row),
                    }
                }
            }
            Event::Watermark(time) => chain.watermark(*time),
            Event::Barrier(epoch) => chain.barrier(*epoch),
        }
    }
    there
}

fn table_of(schema: &SchemaRef, rows: Vec<Row>) -> arrow::array::RecordBatch {
    batch(schema, &rows.into_iter().map(|row| (1, row)).collect::<Vec<_>>()).rows
}

/// `hop(…)` as two operators that copy rows, and the schema after them.
fn copies(call: &str, input: &SchemaRef) -> (Project, Unnest, SchemaRef) {
    let mut exprs: Vec<_> =
        input.fields().iter().map(|field| (expr(field.name(), input), field.name().clone())).collect();
    exprs.push((expr(call, input), "w".to_owned()));
    let project = Project::new(exprs, input).expect("a projection");
    let mut fields: Vec<_> = project.schema().fields().iter().cloned().collect();
    let DataType::List(item) = fields[5].data_type().clone() else { panic!("{call} is no list") };
    fields[5] = Arc::new(Field::new("w", item.data_type().clone(), true));
    let output = Arc::new(Schema::new(fields));
    let columns = UnnestColumns { lists: vec![5], structs: vec![], preserve_nulls: true, preserve_empty: false };
    let unnest = Unnest::new(columns, &project.schema(), output.clone()).expect("an unnest");
    (project, unnest, output)
}

/// Windows of which a row is in several: the name of the function, its intervals, and what becomes of late rows.
fn check_hops(function: &str, a: i64, b: i64, emit: Emit, late: Late, n_late: i64, changing: bool) {
    let input = schema(COLUMNS);
    let call = format!("{function}(t, INTERVAL '{a} nanoseconds', INTERVAL '{b} nanoseconds')");
    let (project, unnest, unnested) = copies(&call, &input);
    let spec = aggregate(&format!("SELECT w, k, {CALLS} FROM t GROUP BY w, k"), &unnested);
    let spec = spec.windowed(Windowing { column: 0, emit, late }).expect("a window");
    let spec = if changing { spec.over_changes() } else { spec };
    let sql = format!(
        "SELECT w, k, {CALLS} FROM (SELECT id, k, t, v, s, unnest({call}) AS w FROM t UNION ALL \
         SELECT id, k, t, v, s, NULL AS w FROM t WHERE t IS NULL) GROUP BY w, k"
    );
    for seed in 0..N_CASES {
        let events = events(seed, n_late, changing);
        let mut chain = Chain::new(&[(&project, &[]), (&unnest, &[]), (&spec, &[1])], seed);
        let there = feed(&mut chain, &events, &input);
        let case = format!("{call}, {emit:?}, {late:?}, seed {seed}");
        if n_late == 0 {
            assert_eq!(chain.letters, [], "{case}");
            assert_same(&chain.table, &batch_answer(&sql, &[("t", table_of(&input, there))]), &case);
        }
        let shows_once = emit == Emit::Final && late == Late::DeadLetter && !changing;
        if !shows_once {
            continue;
        }
        let panes = panes(function, a, b, &input);
        let mut paned = Chain::new(&[(&panes, &[1])], seed);
        feed(&mut paned, &events, &input);
        assert_same(&paned.table, &chain.table, &format!("panes are not copies: {case}"));
        let texts = |chain: &Chain<'_>| -> Vec<String> {
            // The copies carry their window with them.
            let without_window =
                |text: &String| text.split(",\"w\":").next().unwrap_or_default().trim_end_matches('}').to_owned();
            chain.letters.iter().map(|(_, text)| without_window(text)).collect()
        };
        assert_eq!(texts(&paned), texts(&chain), "{case}");
        assert_eq!(paned.n_kept(), 0, "state is left: {case}");
    }
}

fn panes(function: &str, a: i64, b: i64, input: &SchemaRef) -> Aggregate {
    let spec = aggregate(&format!("SELECT t, k, {CALLS} FROM t GROUP BY t, k"), input);
    let interval =
        |nanos: i64| ScalarValue::IntervalMonthDayNano(Some(arrow::datatypes::IntervalMonthDayNano::new(0, 0, nanos)));
    let rule = WindowRule::from_constants(function, &[interval(a), interval(b)]).expect("a rule");
    spec.with_panes(0, rule).expect("a time")
}

const LONG: Late = Late::Update { allowed_lateness_ns: 1_000 };

#[test]
fn hops_equal_the_batch_answer_and_panes_equal_copies() {
    for (slide, width) in [(5, 10), (4, 10), (3, 7), (10, 4), (6, 6)] {
        check_hops("hop", slide, width, Emit::Final, Late::DeadLetter, 0, false);
        check_hops("hop", slide, width, Emit::Final, Late::DeadLetter, 12, false);
    }
    check_hops("hop", 4, 10, Emit::Changes, Late::DeadLetter, 0, false);
    check_hops("hop", 4, 10, Emit::Changes, LONG, 12, true);
    check_hops("hop", 4, 10, Emit::Final, LONG, 12, true);
}

#[test]
fn windows_that_grow_equal_the_batch_answer_and_panes_equal_copies() {
    for (step, size) in [(5, 15), (4, 10)] {
        check_hops("cumulate", step, size, Emit::Final, Late::DeadLetter, 0, false);
        check_hops("cumulate", step, size, Emit::Final, Late::DeadLetter, 12, false);
    }
    check_hops("cumulate", 4, 10, Emit::Changes, LONG, 12, true);
}

fn check_sessions(emit: Emit, late: Late, n_late: i64, changing: bool) {
    let input = schema(COLUMNS);
    let gap = 3;
    let config = SessionConfig {
        input: input.clone(),
        time: expr("t", &input),
        keys: vec![1],
        gap_ns: gap,
        emit,
        late,
        input_changing: changing,
    };
    let session = Session::new(config, "w").expect("sessions");
    let spec = aggregate(&format!("SELECT w, k, {CALLS} FROM t GROUP BY w, k"), &session.schema());
    let spec = spec.windowed(Windowing { column: 0, emit, late }).expect("a window");
    let spec = if session.output_changing() { spec.over_changes() } else { spec };
    let at = "CAST(t AS BIGINT)";
    let starts = format!(
        "SELECT *, CASE WHEN {at} - lag({at}) OVER (PARTITION BY k ORDER BY t, id) <= {gap} THEN 0 ELSE 1 END AS starts FROM t"
    );
    let numbered = format!("SELECT *, sum(starts) OVER (PARTITION BY k ORDER BY t, id) AS n FROM ({starts})");
    let bounds = format!(
        "SELECT *, min({at}) OVER (PARTITION BY k, n) AS a, max({at}) OVER (PARTITION BY k, n) + {gap} AS b FROM ({numbered})"
    );
    let window = "CASE WHEN t IS NOT NULL THEN named_struct('start', arrow_cast(a, 'Timestamp(Nanosecond, None)'), \
        'end', arrow_cast(b, 'Timestamp(Nanosecond, None)')) END";
    let sql = format!("SELECT w, k, {CALLS} FROM (SELECT id, k, t, v, s, {window} AS w FROM ({bounds})) GROUP BY w, k");
    for seed in 0..2 * N_CASES {
        let mut chain = Chain::new(&[(&session, &[1]), (&spec, &[1])], seed);
        let there = feed(&mut chain, &events(seed, n_late, changing), &input);
        let case = format!("{emit:?}, {late:?}, {n_late} late, changing {changing}, seed {seed}");
        assert!(chain.letters.iter().all(|(operator, _)| *operator == 0), "{case}: {:?}", chain.letters);
        assert!(n_late > 0 || changing || chain.letters.is_empty(), "{case}: {:?}", chain.letters);
        assert_same(&chain.table, &batch_answer(&sql, &[("t", table_of(&input, there))]), &case);
        assert_eq!(chain.n_kept(), 0, "state is left: {case}");
    }
}

#[test]
fn sessions_equal_the_batch_answer_over_the_rows_that_were_not_too_late() {
    for n_late in [0, 12] {
        for late in [Late::DeadLetter, Late::Update { allowed_lateness_ns: 5 }, LONG] {
            for emit in [Emit::Final, Emit::Changes] {
                for changing in [false, true] {
                    check_sessions(emit, late, n_late, changing);
                }
            }
        }
    }
}

#[test]
fn windows_without_rows_equal_the_batch_answer() {
    let input = schema(COLUMNS);
    let tumble = "tumble(t, INTERVAL '4 nanoseconds')";
    let calls = CALLS.strip_suffix(", array_agg(v ORDER BY v)").expect("an outer join makes a null of nothing");
    for late in [Late::DeadLetter, LONG] {
        let spec = aggregate(&format!("SELECT {tumble}, k, {calls} FROM t GROUP BY {tumble}, k"), &input);
        let interval = ScalarValue::IntervalMonthDayNano(Some(arrow::datatypes::IntervalMonthDayNano::new(0, 0, 4)));
        let rule = WindowRule::from_constants("tumble", &[interval]).expect("a rule");
        let spec = spec.windowed(Windowing { column: 0, emit: Emit::Final, late }).expect("a window");
        let spec = spec.with_empty_windows(rule, vec![Some(WindowColumn::Whole), None]);
        for seed in 0..N_CASES {
            let mut events = events(seed, 0, false);
            for event in &mut events {
                if let Event::Rows(rows) = event {
                    rows.retain(|(_, row)| row[2].is_some());
                }
            }
            let mut chain = Chain::new(&[(&spec, &[])], seed);
            let there = feed(&mut chain, &events, &input);
            // A window is shown for each key from its first on, up to the newest of all or the last watermark.
            let last = format!("greatest((SELECT max(CAST(t AS BIGINT)) FROM t), {})", (N_STEPS - 1) * 6 + 1 - 4);
            let periods = format!(
                "SELECT k, unnest(generate_series(first - first % 4, {last}, 4)) AS p FROM \
                 (SELECT k, min(CAST(t AS BIGINT)) AS first FROM t GROUP BY k)"
            );
            let sql = format!(
                "SELECT tumble(arrow_cast(p, 'Timestamp(Nanosecond, None)'), INTERVAL '4 nanoseconds') AS w, periods.k, \
                 count(t.id), {} FROM ({periods}) AS periods LEFT JOIN t ON t.k = periods.k \
                 AND CAST(t.t AS BIGINT) >= p AND CAST(t.t AS BIGINT) < p + 4 GROUP BY 1, 2",
                calls.strip_prefix("count(*), ").expect("the count comes first")
            );
            let expected = batch_answer(&sql, &[("t", table_of(&input, there))]);
            assert_same(&chain.table, &expected, &format!("{late:?}, seed {seed}"));
        }
    }
}
