//! Reading a table of state back: parts are merged, newest first, and each subtask gets the rows that are its own.
//!
//! It works sixteenth by sixteenth: what is held is one batch, and of one sixteenth the keys of all parts but the
//! oldest. With one part no key is looked at.

use super::manifest::TableState;
use super::part::{PartReader, RANGES, Sorted, groups, sorted_by};
use super::seen::Seen;
use super::stored::to_original;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use headwater_core::{Error, KEY_GROUPS, Result, Route, subtask_of};

/// Calls `each` with the rows of a table that belong to one subtask. `parts` are the files of `table.parts`, in that
/// order, as [`super::StateStore::read_parts`] returns them. It is synchronous and computes: not for an async task.
///
/// # Errors
/// `Data` when a file is not a part or does not fit the others, and what `each` returns.
pub fn restore_table(
    table: &TableState,
    parts: &[Bytes],
    subtask: usize,
    parallelism: usize,
    mut each: impl FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    if parts.len() != table.parts.len() {
        return Err(Error::internal(format!("{} of {} parts are there", parts.len(), table.parts.len())));
    }
    let place = |error: Error| error.at(format!("table '{}'", table.name));
    match &table.route {
        Route::Everyone => {
            for part in table.counting() {
                let layers = [Layer::open(&parts[part], true, table).map_err(place)?];
                emit(table, &layers, &Share::All, &mut each)?;
            }
        }
        Route::Key(columns) => {
            let share = match columns.is_empty() {
                // Rows that are not routed all go to the first subtask.
                true if subtask > 0 => return Ok(()),
                true => Share::All,
                false => Share::Owned { subtask, parallelism },
            };
            let layers = parts.iter().map(|part| Layer::open(part, true, table)).collect::<Result<Vec<_>>>();
            emit(table, &layers.map_err(place)?, &share, &mut each)?;
        }
        Route::Anyone => {
            for stream in table.streams() {
                if stream.owner(parallelism) != subtask {
                    continue;
                }
                let open = |part: &usize| Layer::open(&parts[*part], stream.own.contains(part), table);
                let layers = stream.all.iter().map(open).collect::<Result<Vec<_>>>().map_err(place)?;
                emit(table, &layers, &Share::All, &mut each)?;
            }
        }
    }
    Ok(())
}

/// Which rows a subtask gets.
enum Share {
    All,
    /// Those of its key groups.
    Owned {
        subtask: usize,
        parallelism: usize,
    },
}

impl Share {
    fn owns(&self, group: usize) -> bool {
        match self {
            Self::All => true,
            Self::Owned { subtask, parallelism } => subtask_of(group, *parallelism) == *subtask,
        }
    }

    /// Whether it owns a sixteenth: none of it, some, or all.
    fn of_range(&self, range: usize) -> (bool, bool) {
        let n = KEY_GROUPS / RANGES;
        let mut owned = (range * n..(range + 1) * n).map(|group| self.owns(group));
        (owned.clone().any(|owns| owns), owned.all(|owns| owns))
    }
}

fn emit(
    table: &TableState,
    layers: &[Layer],
    share: &Share,
    each: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    let mut give = |schema: &SchemaRef, rows: RecordBatch| to_original(&rows, schema, each);
    let wanted = |range| share.of_range(range).0;
    survivors(table, layers, &wanted, &mut |range, schema, rows, removed| {
        if removed {
            return Ok(());
        }
        if share.of_range(range).1 {
            return give(schema, rows);
        }
        let columns = sorted_by(&table.route, &table.key);
        let owned = groups(&rows, columns)?.into_iter().map(|group| share.owns(group));
        let rows = filter_record_batch(&rows, &owned.map(Some).collect::<BooleanArray>())?;
        if rows.num_rows() > 0 { give(schema, rows) } else { Ok(()) }
    })
}

/// A part that is being merged.
pub(super) struct Layer {
    reader: PartReader,
    original: SchemaRef,
    /// Whether its rows are wanted; otherwise it only voids others'.
    wanted: bool,
    /// The batches of each sixteenth.
    batches: Vec<Vec<Piece>>,
}

enum Piece {
    /// The number of a batch that is of one sixteenth.
    Whole { number: usize, removed: bool },
    /// Rows of a batch that has several; such a batch is small.
    Cut { rows: RecordBatch, removed: bool },
}

impl Layer {
    pub(super) fn open(bytes: &Bytes, wanted: bool, table: &TableState) -> Result<Self> {
        let reader = PartReader::open(bytes)?;
        let columns = sorted_by(&table.route, &table.key);
        let n_columns = reader.stored().fields().len();
        if let Some(column) = columns.iter().chain(&table.key).find(|column| **column >= n_columns) {
            return Err(Error::data(format!("a part has {n_columns} columns, but its key has column {column}")));
        }
        let mut batches: Vec<Vec<Piece>> = (0..RANGES).map(|_| Vec::new()).collect();
        for (number, chunk) in reader.chunks().iter().enumerate() {
            let removed = chunk.removed;
            if chunk.first == chunk.last {
                batches[chunk.first].push(Piece::Whole { number, removed });
                continue;
            }
            let rows = reader.read(number)?;
            let sorted = Sorted::new(&rows, columns)?;
            for (range, pieces) in batches.iter_mut().enumerate() {
                pieces.extend(sorted.pieces(range)?.into_iter().map(|rows| Piece::Cut { rows, removed }));
            }
        }
        Ok(Self { original: reader.original()?, reader, wanted, batches })
    }

    pub(super) fn stored(&self) -> &SchemaRef {
        self.reader.stored()
    }

    fn read(&self, piece: &Piece) -> Result<(RecordBatch, bool)> {
        match piece {
            Piece::Whole { number, removed } => Ok((self.reader.read(*number)?, *removed)),
            Piece::Cut { rows, removed } => Ok((rows.clone(), *removed)),
        }
    }
}

/// What becomes of rows that no newer part voids: their sixteenth, the schema they had, themselves in stored form, and
/// whether they are removed keys.
type Take<'a> = dyn FnMut(usize, &SchemaRef, RecordBatch, bool) -> Result<()> + 'a;

/// Merges parts, given oldest first, and hands over what is left, sixteenth by sixteenth.
pub(super) fn survivors(
    table: &TableState,
    layers: &[Layer],
    wanted: &dyn Fn(usize) -> bool,
    take: &mut Take<'_>,
) -> Result<()> {
    let Some(newest) = layers.last() else { return Ok(()) };
    same_keys(table, layers)?;
    let keyed = table.route != Route::Everyone;
    let mut seen = Seen::new(newest.stored(), &table.key)?;
    for range in (0..RANGES).filter(|range| wanted(*range)) {
        seen.clear();
        for (age, layer) in layers.iter().enumerate().rev() {
            // Nothing is older than the oldest, and nothing voids rows of the newest.
            let (voids, voidable) = (keyed && age > 0, keyed && age + 1 < layers.len());
            let mut of_part = Vec::new();
            for piece in &layer.batches[range] {
                let (mut rows, removed) = layer.read(piece)?;
                if voids || voidable {
                    let keys = seen.keys(&rows)?;
                    rows = seen.unseen(rows, &keys)?;
                    of_part.push(keys);
                }
                if layer.wanted && rows.num_rows() > 0 {
                    take(range, &layer.original, rows, removed)?;
                }
            }
            if voids {
                of_part.into_iter().try_for_each(|keys| seen.add(keys))?;
            }
        }
    }
    Ok(())
}

/// Keys of different types have different bytes, and would not void each other.
fn same_keys(table: &TableState, layers: &[Layer]) -> Result<()> {
    for pair in layers.windows(2) {
        for column in &table.key {
            let [old, new] = [&pair[0], &pair[1]].map(|layer| layer.stored().field(*column).data_type().clone());
            if old != new {
                return Err(Error::data(format!("the key of one part is {old} and that of a later one {new}")));
            }
        }
    }
    Ok(())
}
