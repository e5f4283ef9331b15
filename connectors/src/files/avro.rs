//! Opens one Avro object container file: its schema is in its head, and of each record only the wanted fields are read.
//! The rows before the place to go on from are read and left out, because blocks do not say how far they reach.

use super::listing::File;
use super::parquet::{Batches, check_columns};
use crate::formats::avro::projection;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_avro::reader::{Reader, ReaderBuilder};
use headwater_core::{Error, Result};
use std::io::{self, BufReader, Read, Seek};

/// The length of what a file begins with, and of what ends its head and each block.
const MAGIC_BYTES: i64 = 4;
const MARK_BYTES: usize = 16;
/// How many rows are unpacked at once.
const UNPACKED_ROWS: usize = 8192;

type Opened = Reader<BufReader<std::fs::File>>;

fn corrupt(file: &File, error: impl std::fmt::Display) -> Error {
    Error::data(format!("'{}' is not a sound Avro file: {error}", file.path.display()))
}

fn reader(file: &File, projection: Option<Vec<usize>>) -> Result<Opened> {
    let opened = std::fs::File::open(&file.path)
        .map_err(|error| Error::io(format!("cannot read '{}'", file.path.display()), error))?;
    let mut builder = ReaderBuilder::new().with_batch_size(UNPACKED_ROWS);
    if let Some(projection) = projection {
        builder = builder.with_projection(projection);
    }
    builder.build(BufReader::new(opened)).map_err(|error| corrupt(file, error))
}

/// Walks over the blocks of a file without reading them. The reader takes a file that ends in the middle of a block for
/// one that ends before it, and rows would be missing in silence.
fn check_whole(file: &File) -> Result<()> {
    let walk = || -> io::Result<()> {
        let opened = std::fs::File::open(&file.path)?;
        let n_bytes = opened.metadata()?.len();
        let mut input = BufReader::new(opened);
        skip(&mut input, MAGIC_BYTES, n_bytes)?;
        loop {
            let n_entries = number(&mut input)?;
            match n_entries {
                0 => break,
                // A size follows, for those that skip the entries.
                n if n < 0 => drop(number(&mut input)?),
                _ => {}
            }
            for _ in 0..n_entries.unsigned_abs().saturating_mul(2) {
                let length = number(&mut input)?;
                skip(&mut input, length, n_bytes)?;
            }
        }
        let mut mark = [0; MARK_BYTES];
        input.read_exact(&mut mark)?;
        while input.stream_position()? < n_bytes {
            number(&mut input)?;
            let length = number(&mut input)?;
            skip(&mut input, length, n_bytes)?;
            let mut found = [0; MARK_BYTES];
            input.read_exact(&mut found)?;
            if found != mark {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a block does not end where it says"));
            }
        }
        Ok(())
    };
    walk().map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => corrupt(file, "it ends in the middle of a block"),
        io::ErrorKind::InvalidData => corrupt(file, error),
        _ => Error::io(format!("cannot read '{}'", file.path.display()), error),
    })
}

/// Reads a number: seven bits a byte, the least first, with its sign in the last bit.
fn number(input: &mut impl Read) -> io::Result<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a number has more than 64 bits"))
}

fn skip(input: &mut BufReader<std::fs::File>, n_bytes: i64, n_bytes_all: u64) -> io::Result<()> {
    if n_bytes < 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a length is below zero"));
    }
    input.seek_relative(n_bytes)?;
    if input.stream_position()? > n_bytes_all { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Opens a file behind `skipped` rows.
pub(super) fn open(file: &File, wanted: &SchemaRef, skipped: usize) -> Result<Batches> {
    check_whole(file)?;
    let all = reader(file, None)?;
    check_columns(file, &all.schema(), wanted)?;
    let columns = projection(&all.schema(), wanted);
    // A type that is named in a field that is left out cannot be referred to by another: then all are read.
    let chosen = if columns.is_empty() { all } else { reader(file, Some(columns)).unwrap_or(all) };
    let place = file.clone();
    let mut batches = chosen.map(move |rows| rows.map_err(|error| corrupt(&place, error)));
    let mut rest = skipped;
    let mut first: Option<RecordBatch> = None;
    while rest > 0 {
        let Some(rows) = batches.next() else {
            let message = format!("'{}' cannot be continued at row {skipped}: it has {}", file.name, skipped - rest);
            return Err(Error::data(message));
        };
        let rows = rows?;
        let n_left_out = rest.min(rows.num_rows());
        rest -= n_left_out;
        first = Some(rows.slice(n_left_out, rows.num_rows() - n_left_out));
    }
    Ok(Box::new(first.into_iter().map(Ok).chain(batches)))
}
