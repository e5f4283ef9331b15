//! A file of rows of one table: an Arrow IPC file, compressed with ZSTD, whose batches are sorted by sixteenth of the
//! key groups, so that a subtask reads only what may be its own.
//!
//! The state of a writer is the compressed file so far and one batch; the state of a reader is the file and its index.

use super::stored::{batch, file_schema, original_schema, removed_to_stored, stored_schema, to_stored, with_removed};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::buffer::Buffer;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::ipc::{Block, CompressionType, convert::fb_to_schema, root_as_footer};
use bytes::Bytes;
use headwater_core::{Error, KEY_GROUPS, KeyGroups, Result, Route, StateTable};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use twox_hash::XxHash3_64;

/// Into how many ranges of key groups a file is sorted.
pub(super) const RANGES: usize = 16;
/// The greatest number of rows of a batch: what a reader holds at once.
const BATCH_ROWS_MAX: usize = 65_536;
/// Up to how many rows share a batch though they are of different sixteenths: each batch costs about a kilobyte.
const SHARED_ROWS_MAX: usize = 4_096;
/// State is written every second and read once; level 1 costs half the time of the usual 3 for a tenth more bytes.
const ZSTD_LEVEL: i32 = 1;
/// The metadata of a file that lists what each batch holds.
const BATCHES: &str = "headwater.batches";
/// Where the last ten bytes of a file begin: the length of the footer and the magic.
const TRAILER: usize = 10;

/// Changes of a table in the form of a file, not yet written.
#[derive(Debug, Clone)]
pub struct EncodedPart {
    /// The file.
    pub bytes: Bytes,
    /// How many rows it has, removed keys not counted.
    pub rows: u64,
    /// How many keys it removes.
    pub removed: u64,
    /// See [`checksum`].
    pub checksum: String,
}

/// Returns XXH3 of a file, 64 bits, in hexadecimal.
#[must_use]
pub fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", XxHash3_64::oneshot(bytes))
}

/// What a batch of a file holds: the first and the last sixteenth, and whether its rows are removed keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) removed: bool,
}

/// Encodes changes of one table; `None` when there are none. It is synchronous and computes: not for an async task.
///
/// # Errors
/// `Internal` when the table contradicts itself; `Data` for a type that Arrow's file format does not have.
pub fn encode(table: &StateTable) -> Result<Option<EncodedPart>> {
    check(table)?;
    let n_removed = table.removed.as_ref().map_or(0, RecordBatch::num_rows);
    // A table for everyone replaces the one before it, also when it has become empty.
    if table.rows.num_rows() + n_removed == 0 && table.route != Route::Everyone {
        return Ok(None);
    }
    let stored = stored_schema(&table.rows.schema());
    let mut writer = PartWriter::new(&stored)?;
    let columns = sorted_by(&table.route, &table.key);
    let rows = Sorted::new(&table.rows, columns)?;
    let removed = match &table.removed {
        Some(keys) if n_removed > 0 => {
            let of_key = |column: &usize| table.key.iter().position(|key| key == column).unwrap_or_default();
            Some(Sorted::new(keys, &columns.iter().map(of_key).collect::<Vec<_>>())?)
        }
        _ => None,
    };
    for range in 0..RANGES {
        for piece in rows.pieces(range)? {
            writer.add(range, to_stored(&piece, &stored)?, false)?;
        }
        for piece in removed.as_ref().map_or(Ok(Vec::new()), |removed| removed.pieces(range))? {
            writer.add(range, removed_to_stored(&piece, &table.key, &stored)?, true)?;
        }
    }
    writer.finish().map(Some)
}

fn check(table: &StateTable) -> Result<()> {
    let wrong = |what: &str| Err(Error::internal(format!("the table of state '{}' {what}", table.name)));
    if table.key.iter().any(|column| *column >= table.rows.num_columns()) {
        return wrong("has a key outside its columns");
    }
    if let Route::Key(columns) = &table.route
        && columns.iter().any(|column| !table.key.contains(column))
    {
        return wrong("is routed by a column that is not in its key");
    }
    if let Some(removed) = &table.removed {
        let schema = table.rows.schema();
        let fits = removed.num_columns() == table.key.len()
            && table
                .key
                .iter()
                .zip(removed.columns())
                .all(|(at, key)| schema.field(*at).data_type() == key.data_type());
        if !fits {
            return wrong("removes keys that are not of its key's types");
        }
    }
    Ok(())
}

/// Returns the columns whose hash says in which sixteenth a row is. Where rows are not routed by a hash, their whole
/// key is as good: what matters is that all rows of a key are in the same one.
pub(super) fn sorted_by<'a>(route: &'a Route, key: &'a [usize]) -> &'a [usize] {
    match route {
        Route::Key(columns) if !columns.is_empty() => columns,
        Route::Key(_) | Route::Anyone => key,
        Route::Everyone => &[],
    }
}

/// Returns the key group of each row; 0 for all without columns.
pub(super) fn groups(rows: &RecordBatch, columns: &[usize]) -> Result<Vec<usize>> {
    KeyGroups::new(&rows.schema(), columns)?.of(rows)
}

/// Returns the sixteenth of a key group.
pub(super) fn range_of(group: usize) -> usize {
    group * RANGES / KEY_GROUPS
}

/// Rows and, for each sixteenth, the numbers of its rows.
pub(super) struct Sorted<'a> {
    rows: &'a RecordBatch,
    numbers: Vec<Vec<u32>>,
}

impl<'a> Sorted<'a> {
    pub(super) fn new(rows: &'a RecordBatch, columns: &[usize]) -> Result<Self> {
        let mut numbers = vec![Vec::new(); RANGES];
        for (row, group) in (0_u32..).zip(groups(rows, columns)?) {
            numbers[range_of(group)].push(row);
        }
        Ok(Self { rows, numbers })
    }

    /// Returns the rows of a sixteenth in batches that are small enough.
    pub(super) fn pieces(&self, range: usize) -> Result<Vec<RecordBatch>> {
        let piece = |numbers: &[u32]| -> Result<RecordBatch> {
            if self.rows.num_columns() == 0 {
                return batch(self.rows.schema_ref(), Vec::new(), numbers.len());
            }
            if numbers.len() == self.rows.num_rows() {
                return Ok(self.rows.clone());
            }
            Ok(take_record_batch(self.rows, &UInt32Array::from(numbers.to_vec()))?)
        };
        self.numbers[range].chunks(BATCH_ROWS_MAX).map(piece).collect()
    }
}

/// Writes a file, sixteenth by sixteenth.
pub(super) struct PartWriter {
    writer: FileWriter<Vec<u8>>,
    stored: SchemaRef,
    file: SchemaRef,
    /// What is not yet written: rows, and removed keys.
    pending: [Pending; 2],
    chunks: Vec<Chunk>,
    counts: [u64; 2],
}

#[derive(Default)]
struct Pending {
    first: usize,
    last: usize,
    n_rows: usize,
    batches: Vec<RecordBatch>,
}

impl PartWriter {
    /// Begins a file by the stored schema of its table.
    pub(super) fn new(stored: &SchemaRef) -> Result<Self> {
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD))?;
        let options = options.try_with_compression_level(Some(ZSTD_LEVEL))?;
        let file = file_schema(stored);
        let writer = FileWriter::try_new_with_options(Vec::new(), &file, options)?;
        let pending = [Pending::default(), Pending::default()];
        Ok(Self { writer, stored: stored.clone(), file, pending, chunks: Vec::new(), counts: [0, 0] })
    }

    /// Adds rows in stored form; sixteenths come in their order.
    pub(super) fn add(&mut self, range: usize, rows: RecordBatch, removed: bool) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let kind = usize::from(removed);
        self.counts[kind] += rows.num_rows() as u64;
        let pending = &self.pending[kind];
        let n_rows = pending.n_rows + rows.num_rows();
        let too_many = if pending.first == range { BATCH_ROWS_MAX } else { SHARED_ROWS_MAX };
        if pending.n_rows > 0 && n_rows > too_many {
            self.flush(removed)?;
        }
        let pending = &mut self.pending[kind];
        if pending.n_rows == 0 {
            pending.first = range;
        }
        pending.last = range;
        pending.n_rows += rows.num_rows();
        pending.batches.push(rows);
        Ok(())
    }

    fn flush(&mut self, removed: bool) -> Result<()> {
        let Pending { first, last, n_rows, batches } = std::mem::take(&mut self.pending[usize::from(removed)]);
        if n_rows == 0 {
            return Ok(());
        }
        let rows = match batches.as_slice() {
            [only] => only.clone(),
            _ if self.stored.fields().is_empty() => batch(&self.stored, Vec::new(), n_rows)?,
            several => concat_batches(&self.stored, several)?,
        };
        for from in (0..n_rows).step_by(BATCH_ROWS_MAX) {
            let piece = rows.slice(from, BATCH_ROWS_MAX.min(n_rows - from));
            self.writer.write(&with_removed(&piece, &self.file, removed)?)?;
            self.chunks.push(Chunk { first, last, removed });
        }
        Ok(())
    }

    /// Ends the file.
    pub(super) fn finish(mut self) -> Result<EncodedPart> {
        self.flush(false)?;
        self.flush(true)?;
        let chunks = serde_json::to_string(&self.chunks);
        self.writer.write_metadata(BATCHES, chunks.map_err(|e| Error::internal(format!("the list of batches: {e}")))?);
        self.writer.finish()?;
        let [rows, removed] = self.counts;
        let bytes = Bytes::from(self.writer.into_inner()?);
        let checksum = checksum(&bytes);
        Ok(EncodedPart { bytes, rows, removed, checksum })
    }
}

/// Reads the batches of a file in any order.
pub(super) struct PartReader {
    buffer: Buffer,
    decoder: FileDecoder,
    blocks: Vec<Block>,
    chunks: Vec<Chunk>,
    stored: SchemaRef,
}

impl PartReader {
    /// Opens a file whose checksum is right.
    pub(super) fn open(bytes: &Bytes) -> Result<Self> {
        let broken = |what: &str| Error::data(format!("this is not a part of state: {what}"));
        let buffer = Buffer::from(bytes.clone());
        let trailer = buffer.len().checked_sub(TRAILER).ok_or_else(|| broken("it is too short"))?;
        let magic = buffer[trailer..].try_into().map_err(|_| broken("it is too short"))?;
        let length = read_footer_length(magic)?;
        let from = trailer.checked_sub(length).ok_or_else(|| broken("its footer is too long"))?;
        let footer = root_as_footer(&buffer[from..trailer]).map_err(|e| broken(&e.to_string()))?;
        let file = fb_to_schema(footer.schema().ok_or_else(|| broken("it has no schema"))?);
        let mut metadata = footer.custom_metadata().into_iter().flatten();
        let list = metadata.find(|entry| entry.key() == Some(BATCHES)).and_then(|entry| entry.value());
        let list = list.ok_or_else(|| broken("it does not say what its batches hold"))?;
        let chunks: Vec<Chunk> = serde_json::from_str(list).map_err(|e| broken(&e.to_string()))?;
        let blocks: Vec<Block> = footer.recordBatches().into_iter().flatten().copied().collect();
        let in_order = chunks.iter().all(|chunk| chunk.first <= chunk.last && chunk.last < RANGES);
        if blocks.len() != chunks.len() || !in_order {
            return Err(broken("its list of batches does not fit its batches"));
        }
        let n_columns = file.fields().len().checked_sub(1).ok_or_else(|| broken("it has no columns"))?;
        let stored = Schema::new_with_metadata(file.fields()[..n_columns].to_vec(), file.metadata().clone());
        let decoder = FileDecoder::new(Arc::new(file), footer.version());
        Ok(Self { decoder, blocks, chunks, stored: Arc::new(stored), buffer })
    }

    /// What each batch holds.
    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Reads how many keys are removed.
    pub(super) fn removed_rows(&self) -> Result<u64> {
        let removed = self.chunks.iter().enumerate().filter(|(_, chunk)| chunk.removed);
        removed.map(|(number, _)| Ok(self.read(number)?.num_rows() as u64)).sum()
    }

    /// The stored schema of the table.
    pub(super) fn stored(&self) -> &SchemaRef {
        &self.stored
    }

    /// The schema that the table had.
    pub(super) fn original(&self) -> Result<SchemaRef> {
        original_schema(&self.stored)
    }

    /// Reads a batch, in stored form.
    pub(super) fn read(&self, number: usize) -> Result<RecordBatch> {
        let block = &self.blocks[number];
        let outside = || Error::data(format!("this is not a part of state: batch {number} lies outside the file"));
        let offset = usize::try_from(block.offset()).map_err(|_| outside())?;
        let length = i64::from(block.metaDataLength()) + block.bodyLength();
        let length = usize::try_from(length).map_err(|_| outside())?;
        if offset.checked_add(length).is_none_or(|end| end > self.buffer.len()) {
            return Err(outside());
        }
        let data = self.buffer.slice_with_length(offset, length);
        let rows = self.decoder.read_record_batch(block, &data)?;
        let rows = rows.ok_or_else(|| ArrowError::IpcError(format!("batch {number} has no rows")))?;
        batch(&self.stored, rows.columns()[..self.stored.fields().len()].to_vec(), rows.num_rows())
    }
}
