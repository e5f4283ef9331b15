//! Keeps rows for as long as a condition on the present time holds: `WHERE ts > now() - INTERVAL '7 days'`.
//!
//! `now()` is the time of the epoch, so all results of an epoch agree on it; a row comes when the time makes the
//! condition true and is retracted when it makes it false. The operator itself never asks for the time. Its state is
//! every row whose condition is or will be true; a row goes when its condition can never be true again.
//!
//! A condition compares a value of the row with a function of the present that never falls. When it changes is found
//! by bisection on that function, so calendar intervals and truncated dates are as exact as fixed ones.

use crate::changed_slots::ChangedSlots;
use crate::expression::{Evaluated, engine_error, evaluate_or_bury, sql};
use crate::held_watermarks::HeldWatermarks;
use crate::row_table::RowTable;
use crate::state_table::{
    Named, TIME, as_numbers, as_times, keyed_table, named, numbers, removed_keys, route_by, rows_of, stored_columns,
    times, unknown_table,
};
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, TimestampNanosecondArray};
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{
    Barrier, Batch, Error, EventTime, Operator, OperatorSpec, Output, Result, Route, Snapshot, StateSize, StateTable,
    TaskContext, Watermark,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The present is looked for between 1970 and 2200; a bound outside of it is always or never reached.
const PRESENT: (i64, i64) = (0, 7_258_118_400 * EventTime::SECOND);

/// How a value of the row must stand to the function of the present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `value > f(now())`
    Greater,
    /// `value >= f(now())`
    GreaterOrEqual,
    /// `value < f(now())`
    Less,
    /// `value <= f(now())`
    LessOrEqual,
}

impl Compare {
    fn sign(self) -> &'static str {
        match self {
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        }
    }

    /// Whether a row leaves as time passes; otherwise it comes.
    fn ends(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual)
    }

    /// Whether the condition changes only when the function is past the value, and not when it reaches it.
    fn changes_past(self) -> bool {
        matches!(self, Self::GreaterOrEqual | Self::Less)
    }
}

/// One condition on the present.
#[derive(Debug, Clone)]
pub struct TemporalBound {
    /// A value over the columns of the row.
    pub value: Arc<dyn PhysicalExpr>,
    /// How it is compared.
    pub compare: Compare,
    /// A function over the only column of [`TemporalFilter::present`], of the type of the value, that never falls.
    pub present: Arc<dyn PhysicalExpr>,
}

/// Keeps rows while all of its bounds hold.
#[derive(Debug, Clone)]
pub struct TemporalFilter {
    bounds: Vec<TemporalBound>,
    schema: SchemaRef,
    input_changing: bool,
}

impl TemporalFilter {
    /// Makes it over rows of this schema.
    ///
    /// # Errors
    /// `Invalid` when a function of the present leaves the range of times before the year 2200.
    pub fn new(bounds: Vec<TemporalBound>, schema: SchemaRef) -> Result<Self> {
        for bound in &bounds {
            let both: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![PRESENT.0, PRESENT.1]));
            let rows = RecordBatch::try_new(Self::present(), vec![both])?;
            if bound.present.evaluate(&rows).is_err() {
                let error = Error::invalid(format!("{} leaves the range of times", sql(&bound.present)));
                return Err(error.with_help("use a shorter interval: times lie between 1677 and 2262"));
            }
        }
        Ok(Self { bounds, schema, input_changing: false })
    }

    /// Says that the input retracts rows. All columns must decide then which subtask gets a row, so that a retraction
    /// meets the row that it takes back.
    #[must_use]
    pub fn over_changes(self) -> Self {
        Self { input_changing: true, ..self }
    }

    /// Returns the schema of the present: one column `now()`, nanoseconds in UTC.
    #[must_use]
    pub fn present() -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        Arc::new(Schema::new(vec![Field::new("now()", time, false)]))
    }

    /// Returns whether the filter retracts rows by itself.
    #[must_use]
    pub fn retracts(&self) -> bool {
        self.bounds.iter().any(|bound| bound.compare.ends())
    }
}

impl OperatorSpec for TemporalFilter {
    fn describe(&self) -> String {
        let bounds = self
            .bounds
            .iter()
            .map(|bound| format!("{} {} {}", sql(&bound.value), bound.compare.sign(), sql(&bound.present)));
        format!("temporal filter {}", bounds.collect::<Vec<_>>().join(" AND "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn state(&self) -> Option<String> {
        let frees = if self.retracts() { "when its condition can never be true again" } else { "when it is retracted" };
        Some(format!("every row whose condition is or will be true; freed {frees}"))
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let types = self.schema.fields().iter().map(|field| field.data_type().clone());
        Ok(Box::new(TemporalFilterOperator {
            spec: self.clone(),
            context: context.clone(),
            now: EventTime::MIN,
            rows: RowTable::new(types)?,
            kept: Vec::new(),
            due: BTreeMap::new(),
            touched: Vec::new(),
            held: HeldWatermarks::default(),
            size: StateSize::default(),
            changed: ChangedSlots::default(),
            ids: (!self.input_changing).then(|| Ids::new(context)),
        }))
    }
}

/// A row that is shown or may be.
#[derive(Default, Clone)]
struct Kept {
    n: i64,
    shown: i64,
    /// It is shown from this time on …
    from: i64,
    /// … and until before this one.
    to: i64,
    is_there: bool,
}

struct TemporalFilterOperator {
    spec: TemporalFilter,
    context: TaskContext,
    now: EventTime,
    rows: RowTable,
    kept: Vec<Kept>,
    /// Rows to look at again, by the time.
    due: BTreeMap<i64, Vec<u32>>,
    touched: Vec<u32>,
    held: HeldWatermarks,
    size: StateSize,
    changed: ChangedSlots,
    /// What rows are known by in snapshots where any subtask may have them; otherwise they are known by their columns.
    ids: Option<Ids>,
}

/// Names for rows that no other subtask and no other run gives: two subtasks may keep equal rows, and after a restart
/// another one may have to say that a row is gone.
struct Ids {
    /// The epoch that the run goes on from, which no later run does, unless nothing of this one was stored.
    run: i64,
    subtask: i64,
    n: i64,
    of_slots: Vec<[i64; 3]>,
}

const ID_COLUMNS: [&str; 3] = ["run", "subtask", "number"];

impl Ids {
    fn new(context: &TaskContext) -> Self {
        let run = context.restored.map_or(0, |epoch| i64::try_from(epoch.0).unwrap_or(i64::MAX));
        Self { run, subtask: i64::try_from(context.subtask).unwrap_or(i64::MAX), n: 0, of_slots: Vec::new() }
    }

    fn set(&mut self, slot: u32, id: [i64; 3]) {
        let index = slot as usize;
        self.of_slots.resize(self.of_slots.len().max(index + 1), [0; 3]);
        self.of_slots[index] = id;
    }

    fn give(&mut self, slot: u32) {
        self.n += 1;
        self.set(slot, [self.run, self.subtask, self.n]);
    }

    /// The bytes of the name of a row.
    fn key(&self, slot: u32) -> Box<[u8]> {
        self.of_slots[slot as usize].iter().flat_map(|part| part.to_be_bytes()).collect()
    }

    fn columns(keys: &[Box<[u8]>]) -> Vec<Named> {
        let part = |key: &[u8], at: usize| -> i64 {
            key.chunks_exact(8).nth(at).and_then(|part| part.try_into().ok()).map_or(0, i64::from_be_bytes)
        };
        let column = |at: usize| numbers(keys.iter().map(|key| part(key, at)));
        ID_COLUMNS.iter().enumerate().map(|(at, name)| ((*name).to_owned(), column(at))).collect()
    }
}

/// Returns for each value the first present at which the function has reached it, or is past it.
fn first_time(bound: &TemporalBound, values: &ArrayRef) -> Result<Vec<i64>> {
    let n_rows = values.len();
    let schema = TemporalFilter::present();
    let reached = |times: &[i64]| -> Result<Vec<bool>> {
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(times.to_vec()));
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let rows = RecordBatch::try_new_with_options(schema.clone(), vec![times], &options)?;
        let present = bound.present.evaluate(&rows).and_then(|p| p.into_array(n_rows)).map_err(engine_error)?;
        let mask =
            if bound.compare.changes_past() { cmp::gt(&present, values)? } else { cmp::gt_eq(&present, values)? };
        Ok((0..n_rows).map(|row| mask.is_valid(row) && mask.value(row)).collect())
    };
    let (mut low, mut high) = (vec![PRESENT.0; n_rows], vec![PRESENT.1; n_rows]);
    let (at_low, at_high) = (reached(&low)?, reached(&high)?);
    while low.iter().zip(&high).any(|(low, high)| high - low > 1) {
        let middle: Vec<i64> = low.iter().zip(&high).map(|(low, high)| low + (high - low) / 2).collect();
        for (row, is_reached) in reached(&middle)?.into_iter().enumerate() {
            if is_reached { high[row] = middle[row] } else { low[row] = middle[row] }
        }
    }
    let time = |row: usize| match (at_low[row], at_high[row]) {
        (true, _) => i64::MIN,
        (false, false) => i64::MAX,
        (false, true) => high[row],
    };
    Ok((0..n_rows).map(time).collect())
}

impl TemporalFilterOperator {
    /// Returns from when on and until when each row is shown.
    fn spans(&self, columns: &[ArrayRef], n_rows: usize) -> Result<(Vec<i64>, Vec<i64>)> {
        let (mut from, mut to) = (vec![i64::MIN; n_rows], vec![i64::MAX; n_rows]);
        for (bound, values) in self.spec.bounds.iter().zip(columns) {
            let times = first_time(bound, values)?;
            for (row, time) in times.into_iter().enumerate() {
                if values.is_null(row) {
                    to[row] = i64::MIN;
                } else if bound.compare.ends() {
                    to[row] = to[row].min(time);
                } else {
                    from[row] = from[row].max(time);
                }
            }
        }
        Ok((from, to))
    }

    fn keep(&mut self, row: &[u8], diff: i64, (from, to): (i64, i64)) {
        let (slot, is_new) = self.rows.intern(row);
        if is_new {
            self.add(slot, Kept { n: 0, shown: 0, from, to, is_there: true });
            self.ids.iter_mut().for_each(|ids| ids.give(slot));
        }
        self.kept[slot as usize].n += diff;
        self.touched.push(slot);
        self.changed.touch(slot);
    }

    fn add(&mut self, slot: u32, kept: Kept) {
        for time in [kept.from, kept.to].into_iter().filter(|time| *time > self.now.0 && *time < i64::MAX) {
            self.due.entry(time).or_default().push(slot);
        }
        self.kept.resize_with(self.rows.n_slots().max(self.kept.len()), Kept::default);
        self.kept[slot as usize] = kept;
        self.size.rows += 1;
        self.size.bytes += self.rows.row(slot).len() as u64;
    }

    /// Returns the change of what is shown of a row, and forgets the row if nothing can come of it.
    fn turn(&mut self, slot: u32) -> i64 {
        let kept = &mut self.kept[slot as usize];
        if !kept.is_there {
            return 0;
        }
        let wanted = if kept.from <= self.now.0 && self.now.0 < kept.to { kept.n } else { 0 };
        let change = wanted - kept.shown;
        kept.shown = wanted;
        if change != 0 {
            self.changed.touch(slot);
        }
        change
    }

    fn forget_if_done(&mut self, slot: u32) {
        let kept = &mut self.kept[slot as usize];
        if kept.is_there && (kept.n == 0 || kept.to <= self.now.0) {
            *kept = Kept::default();
            self.size.rows -= 1;
            self.size.bytes -= self.rows.row(slot).len() as u64;
            match &self.ids {
                Some(ids) => self.changed.gone(slot, &ids.key(slot)),
                None => self.changed.gone(slot, self.rows.row(slot)),
            };
            self.rows.remove(slot);
        }
    }

    fn emit(&self, changes: &[(u32, i64)], out: &mut Output) -> Result<()> {
        let retracts = changes.iter().any(|(_, diff)| *diff < 0);
        let gone = changes.iter().filter(|(_, diff)| *diff < 0);
        let come = changes.iter().filter(|(_, diff)| *diff > 0);
        let (slots, diffs): (Vec<u32>, Vec<i64>) = if retracts {
            gone.chain(come).copied().unzip()
        } else {
            // Where rows only come, a row that is there twice is two rows.
            come.flat_map(|(slot, n)| std::iter::repeat_n((*slot, 1), usize::try_from(*n).unwrap_or(0))).unzip()
        };
        let options = RecordBatchOptions::new().with_row_count(Some(slots.len()));
        let columns = self.rows.columns(&slots)?;
        let rows = RecordBatch::try_new_with_options(self.spec.schema.clone(), columns, &options)?;
        out.emit(if retracts { Batch::changing(rows, Int64Array::from(diffs))? } else { Batch::append_only(rows) });
        Ok(())
    }

    /// What is kept of rows besides themselves.
    fn kept_columns(&self, slots: &[u32]) -> Vec<Named> {
        let kept = || slots.iter().map(|slot| &self.kept[*slot as usize]);
        vec![
            ("n".to_owned(), numbers(kept().map(|kept| kept.n))),
            ("shown".to_owned(), numbers(kept().map(|kept| kept.shown))),
            ("from".to_owned(), times(kept().map(|kept| Some(kept.from)))),
            ("to".to_owned(), times(kept().map(|kept| Some(kept.to)))),
        ]
    }

    /// Lays changed rows out for any subtask.
    fn table_for_anyone(&mut self) -> Result<Option<StateTable>> {
        let taken = self.changed.take(|| self.rows.slots());
        if taken.slots.is_empty() && taken.removed.is_empty() {
            return Ok(None);
        }
        let ids: Vec<Box<[u8]>> =
            self.ids.iter().flat_map(|ids| taken.slots.iter().map(|slot| ids.key(*slot))).collect();
        let mut columns = Ids::columns(&ids);
        columns.extend(named(self.spec.schema.fields(), self.rows.columns(&taken.slots)?));
        columns.extend(self.kept_columns(&taken.slots));
        let rows = rows_of(columns, taken.slots.len())?;
        let removed = removed_keys(Ids::columns(&taken.removed), taken.removed.len())?;
        let key = (0..ID_COLUMNS.len()).collect();
        Ok(Some(StateTable { name: ROWS, key, route: Route::Anyone, rows, removed }))
    }

    /// Lays changed rows out for the subtask that retractions of them come to.
    fn table_by_row(&mut self) -> Result<Option<StateTable>> {
        let route = route_by(self.context.route(0), Some)?;
        let taken = self.changed.take(|| self.rows.slots());
        let values = self.kept_columns(&taken.slots);
        keyed_table((ROWS, route), (&self.rows, self.spec.schema.fields()), taken, values)
    }
}

/// The only table of the state. The time up to which rows were looked at is not part of it: the first barrier after a
/// restart says a time that is not before it, and until then nothing is decided for good.
const ROWS: &str = "rows";

impl Operator for TemporalFilterOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let values: Vec<_> = self.spec.bounds.iter().map(|bound| bound.value.clone()).collect();
        let Evaluated { batch, columns } = evaluate_or_bury(&values, batch, &self.context, out)?;
        let (from, to) = self.spans(&columns, batch.n_rows())?;
        let encoded = self.rows.encode(batch.rows.columns())?;
        for row in 0..batch.n_rows() {
            // What is over when it comes was never shown, and its retraction finds nothing either.
            if to[row] > self.now.0 && from[row] < to[row] {
                self.keep(encoded.get(row), batch.diff(row), (from[row], to[row]));
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _out: &mut Output) -> Result<()> {
        self.held.hold(watermark);
        Ok(())
    }

    fn on_barrier(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        self.now = self.now.max(barrier.time);
        let mut slots = std::mem::take(&mut self.touched);
        while let Some(entry) = self.due.first_entry()
            && *entry.key() <= self.now.0
        {
            slots.extend(entry.remove());
        }
        let mut changes = Vec::new();
        for slot in &slots {
            let change = self.turn(*slot);
            if change != 0 {
                changes.push((*slot, change));
            }
        }
        self.emit(&changes, out)?;
        for slot in slots {
            self.forget_if_done(slot);
        }
        self.held.release(out);
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let table = if self.ids.is_some() { self.table_for_anyone()? } else { self.table_by_row()? };
        Ok(Snapshot { tables: table.into_iter().collect() })
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        if table != ROWS {
            return Err(unknown_table(table));
        }
        let n_ids = if self.ids.is_some() { ID_COLUMNS.len() } else { 0 };
        let n_columns = self.rows.types().len();
        let (ids, row, kept) =
            (vec![DataType::Int64; n_ids], self.rows.types(), [DataType::Int64, DataType::Int64, TIME, TIME]);
        let columns = stored_columns(table, &rows, ids.iter().chain(row).chain(&kept))?;
        let ids: Vec<Vec<i64>> = columns[..n_ids].iter().map(as_numbers).collect::<Result<_>>()?;
        let encoded = self.rows.encode(&columns[n_ids..n_ids + n_columns])?;
        let kept = &columns[n_ids + n_columns..];
        let (n, shown, from, to) =
            (as_numbers(&kept[0])?, as_numbers(&kept[1])?, as_times(&kept[2])?, as_times(&kept[3])?);
        for row in 0..rows.num_rows() {
            let (slot, is_new) = self.rows.intern(encoded.get(row));
            let id = self.ids.as_ref().map(|_| [ids[0][row], ids[1][row], ids[2][row]]);
            if is_new {
                let (from, to) = (from[row].unwrap_or(i64::MIN), to[row].unwrap_or(i64::MAX));
                self.add(slot, Kept { n: n[row], shown: shown[row], from, to, is_there: true });
                self.ids.iter_mut().zip(id).for_each(|(ids, id)| ids.set(slot, id));
                self.changed.restored(slot);
                continue;
            }
            // Two former subtasks had equal rows: from now on they are one, and known by one name.
            let kept = &mut self.kept[slot as usize];
            (kept.n, kept.shown) = (kept.n + n[row], kept.shown + shown[row]);
            self.ids.iter_mut().zip(id).for_each(|(ids, id)| {
                self.changed.gone(slot, &ids.key(slot));
                ids.set(slot, id);
            });
            self.changed.restored(slot);
            self.changed.touch(slot);
        }
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, context, expr, print, schema};
    use headwater_core::{BarrierKind, Epoch, Message};

    /// Shows what a script of rows (by event time) and barriers (by wall time) emits.
    fn shown(condition: (Compare, &str), script: &[Step]) -> String {
        let input = schema("ts time, v int");
        let (compare, present) = condition;
        let present = expr(present, &TemporalFilter::present());
        let bound = TemporalBound { value: expr("ts", &input), compare, present };
        let spec = TemporalFilter::new(vec![bound], input.clone()).expect("a filter");
        let mut operator = spec.build(&context()).expect("the operator builds");
        let (mut out, mut text) = (Output::default(), String::new());
        for (epoch, step) in script.iter().enumerate() {
            match step {
                Step::Row(diff, ts, v) => {
                    let row = vec![Some(ts.to_string()), Some(v.to_string())];
                    operator.on_batch(0, batch(&input, &[(*diff, row)]), &mut out).expect("a good batch");
                }
                Step::Barrier(time) => {
                    let kind = BarrierKind::Flush;
                    let barrier = Barrier { epoch: Epoch(epoch as u64), kind, time: EventTime(*time) };
                    operator.on_barrier(&barrier, &mut out).expect("a good barrier");
                    text.push_str(&format!("at {time}\n"));
                }
            }
            for message in out.take_messages() {
                let Message::Batch(batch) = message else { panic!("only rows are emitted") };
                text.push_str(&print(&batch).replace("1970-01-01T00:00:00", ""));
            }
        }
        text.push_str(&format!("keeps {}\n", operator.state_size().rows));
        text
    }

    enum Step {
        Row(i64, i64, i64),
        Barrier(i64),
    }
    use Step::{Barrier as At, Row};

    #[test]
    fn rows_leave_when_the_time_has_passed_them_and_leave_no_state() {
        let condition = (Compare::Greater, "\"now()\" - INTERVAL '10 nanoseconds'");
        let script = [Row(1, 5, 1), Row(1, 7, 2), At(14), At(15), Row(1, 3, 9), Row(-1, 7, 2), At(16), At(30)];
        let expected =
            "at 14\n+ .000000005 1\n+ .000000007 2\nat 15\n- .000000005 1\nat 16\n- .000000007 2\nat 30\nkeeps 0\n";
        assert_eq!(shown(condition, &script), expected);
    }

    #[test]
    fn rows_come_when_their_time_comes() {
        let condition = (Compare::LessOrEqual, "\"now()\"");
        let script = [Row(1, 20, 1), Row(1, 20, 1), Row(1, 25, 2), At(19), At(20), Row(-1, 25, 2), At(40)];
        let expected = "at 19\nat 20\n+ .000000020 1\n+ .000000020 1\nat 40\nkeeps 1\n";
        assert_eq!(shown(condition, &script), expected);
    }

    #[test]
    fn months_are_as_long_as_the_calendar_says() {
        const DAY: i64 = 86_400 * EventTime::SECOND;
        // 31 January 1970 is in the last month until 1 March: on 28 February a month ago is 28 January.
        let condition = (Compare::GreaterOrEqual, "\"now()\" - INTERVAL '1 month'");
        let script = [Row(1, 30 * DAY, 1), At(58 * DAY), At(59 * DAY - 1), At(59 * DAY + 1)];
        let text = shown(condition, &script);
        assert!(text.starts_with("at 5011200000000000\n+ "), "{text}");
        assert_eq!(text.matches("\n- ").count(), 1, "{text}");
        assert!(text.contains("at 5097599999999999\nat 5097600000000001\n- "), "{text}");
    }
}
