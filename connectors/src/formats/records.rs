//! Cuts a stream of bytes into records: lines, or CSV records, whose quoted fields may hold line breaks.
//!
//! It never decodes and never reads further than the rows that were asked for need. Its state is one buffer, bounded
//! by a chunk, a record and a read block together; a longer record is skipped without being held.

use headwater_core::{Error, Reason};
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::str::FromStr;

/// How much is read at once: enough to make a system call cheap.
const BLOCK_BYTES: usize = 256 << 10;
/// How much one chunk holds: bounds memory when every record is near its limit.
const CHUNK_BYTES_MAX: usize = 4 << 20;
/// How much of a record that is too long is kept for its dead letter.
const HEAD_BYTES: usize = 1 << 10;
/// What some editors put at the start of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Where a record starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The byte offset, in the uncompressed text.
    pub(crate) offset: u64,
    /// The line, from 1.
    pub(crate) line: u64,
}

impl Place {
    /// The start of a text.
    pub(crate) const START: Self = Self { offset: 0, line: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.offset, self.line)
    }
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text
            .split_once(':')
            .and_then(|(offset, line)| Some(Self { offset: offset.parse().ok()?, line: line.parse().ok()? }));
        parsed.ok_or_else(|| Error::data(format!("'{text}' is not a place of the form offset:line")))
    }
}

/// What ends a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The next line break.
    Line,
    /// The next line break outside quotes.
    Csv {
        /// What separates fields.
        delimiter: u8,
        /// What quotes a field.
        quote: u8,
    },
}

/// What becomes of bytes after the last line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// They are a record.
    Record,
    /// They are being written; they are left for later.
    Unfinished,
}

/// Which lines are no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blank {
    /// All lines are records.
    None,
    /// A line without a byte is left out.
    Empty,
    /// A line of white space is left out.
    WhiteSpace,
}

/// How to cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cutting {
    /// Which lines are left out.
    pub(crate) blank: Blank,
    /// What ends a record.
    pub(crate) framing: Framing,
    /// What becomes of the rest.
    pub(crate) tail: Tail,
    /// The longest record that is read.
    pub(crate) record_bytes_max: usize,
}

/// A record: where it starts, and where its bytes are in the buffer.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) place: Place,
    range: Range<usize>,
}

/// Bytes that are no record.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) place: Place,
    pub(crate) reason: Reason,
    pub(crate) message: String,
    pub(crate) head: Vec<u8>,
    pub(crate) n_bytes: u64,
}

/// Some consecutive records.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) records: Vec<Record>,
    pub(crate) rejected: Vec<Rejected>,
    /// Whether the input had nothing more.
    pub(crate) ended: bool,
}

/// The cutter.
pub(crate) struct Records {
    input: Box<dyn Read + Send>,
    cutting: Cutting,
    buffer: Vec<u8>,
    used: usize,
    next: Place,
    input_ended: bool,
}

/// What follows in the buffer.
enum Found {
    Record { n_bytes: usize, n_breaks: u64, terminator: usize },
    TooLong,
    Unclosed,
    Nothing,
}

impl Records {
    /// Cuts `input`, whose first byte is at `next`.
    pub(crate) fn new(input: Box<dyn Read + Send>, cutting: Cutting, next: Place) -> Self {
        Self { input, cutting, buffer: Vec::new(), used: 0, next, input_ended: false }
    }

    /// Returns the place after everything that was returned.
    pub(crate) fn next(&self) -> Place {
        self.next
    }

    /// Returns the bytes of a record of the newest chunk.
    pub(crate) fn bytes(&self, record: &Record) -> &[u8] {
        &self.buffer[record.range.clone()]
    }

    /// Returns at most `rows_max` records. After an error the cutter must not be used again: a new one continues at
    /// [`Records::next`]. The error `WouldBlock` means that a record that is too long is still being written.
    pub(crate) fn next_chunk(&mut self, rows_max: usize) -> io::Result<Chunk> {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.skip_byte_order_mark()?;
        let mut chunk = Chunk::default();
        while chunk.records.len() + chunk.rejected.len() < rows_max && self.used < CHUNK_BYTES_MAX {
            match self.find()? {
                Found::Record { n_bytes, n_breaks, terminator } => {
                    self.take_record(n_bytes, n_breaks, terminator, &mut chunk);
                }
                Found::TooLong => {
                    let rejected = self.skip_line()?;
                    chunk.rejected.push(rejected);
                }
                Found::Unclosed => self.reject_unclosed(&mut chunk),
                Found::Nothing => {
                    chunk.ended = true;
                    break;
                }
            }
        }
        Ok(chunk)
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        if self.next.offset > 0 {
            return Ok(());
        }
        while self.buffer.len() < BYTE_ORDER_MARK.len() && self.fill()? {}
        if self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.used = BYTE_ORDER_MARK.len();
            self.next.offset = BYTE_ORDER_MARK.len() as u64;
        }
        Ok(())
    }

    /// Reads one block; returns whether there was something.
    fn fill(&mut self) -> io::Result<bool> {
        if self.input_ended {
            return Ok(false);
        }
        let n_before = self.buffer.len();
        self.buffer.resize(n_before + BLOCK_BYTES, 0);
        let read = loop {
            match self.input.read(&mut self.buffer[n_before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(n_before + *read.as_ref().unwrap_or(&0));
        let n_read = read?;
        self.input_ended = n_read == 0 && self.cutting.tail == Tail::Record;
        Ok(n_read > 0)
    }

    fn find(&mut self) -> io::Result<Found> {
        let mut scan = Scan::new(self.cutting.framing);
        loop {
            if let Some(n_bytes) = scan.end(&self.buffer[self.used..]) {
                if n_bytes > self.cutting.record_bytes_max {
                    return Ok(if scan.is_quoted_over_lines() { Found::Unclosed } else { Found::TooLong });
                }
                return Ok(Found::Record { n_bytes, n_breaks: scan.n_breaks, terminator: 1 });
            }
            let n_bytes = self.buffer.len() - self.used;
            if n_bytes > self.cutting.record_bytes_max {
                return Ok(if scan.is_quoted_over_lines() { Found::Unclosed } else { Found::TooLong });
            }
            if !self.fill()? {
                return Ok(match (n_bytes, self.cutting.tail) {
                    (0, _) | (_, Tail::Unfinished) => Found::Nothing,
                    _ if scan.is_open() => Found::Unclosed,
                    _ => Found::Record { n_bytes, n_breaks: scan.n_breaks, terminator: 0 },
                });
            }
        }
    }

    fn take_record(&mut self, n_bytes: usize, n_breaks: u64, terminator: usize, chunk: &mut Chunk) {
        let bytes = &self.buffer[self.used..self.used + n_bytes];
        let n_kept = n_bytes - usize::from(bytes.last() == Some(&b'\r'));
        let is_blank = match self.cutting.blank {
            Blank::None => false,
            Blank::Empty => n_kept == 0,
            Blank::WhiteSpace => bytes.iter().all(u8::is_ascii_whitespace),
        };
        if !is_blank {
            chunk.records.push(Record { place: self.next, range: self.used..self.used + n_kept });
        }
        self.advance(n_bytes + terminator, n_breaks + terminator as u64);
    }

    fn advance(&mut self, n_bytes: usize, n_breaks: u64) {
        self.used += n_bytes;
        self.next = Place { offset: self.next.offset + n_bytes as u64, line: self.next.line + n_breaks };
    }

    /// Gives up on the line in which a quote opens that is never closed, so that the lines after it are read.
    fn reject_unclosed(&mut self, chunk: &mut Chunk) {
        let rest = &self.buffer[self.used..];
        let (n_bytes, terminator) = rest.iter().position(|byte| *byte == b'\n').map_or((rest.len(), 0), |at| (at, 1));
        chunk.rejected.push(Rejected {
            place: self.next,
            reason: Reason::Undecodable,
            message: "a quoted field is never closed".to_owned(),
            head: rest[..n_bytes.min(HEAD_BYTES)].to_vec(),
            n_bytes: n_bytes as u64,
        });
        self.advance(n_bytes + terminator, terminator as u64);
    }

    /// Skips to the next line break without holding what is skipped.
    fn skip_line(&mut self) -> io::Result<Rejected> {
        let place = self.next;
        let head = self.buffer[self.used..][..HEAD_BYTES.min(self.cutting.record_bytes_max)].to_vec();
        let mut n_bytes = 0_u64;
        let terminator = loop {
            let rest = &self.buffer[self.used..];
            if let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
                n_bytes += at as u64;
                self.buffer.drain(self.used..=self.used + at);
                break 1;
            }
            n_bytes += rest.len() as u64;
            self.buffer.truncate(self.used);
            if !self.fill()? {
                if self.cutting.tail == Tail::Unfinished {
                    return Err(io::Error::from(io::ErrorKind::WouldBlock));
                }
                break 0;
            }
        };
        self.next = Place { offset: place.offset + n_bytes + terminator, line: place.line + terminator };
        let message = format!("{n_bytes} bytes are more than the limit of {}", self.cutting.record_bytes_max);
        Ok(Rejected { place, reason: Reason::TooLong, message, head, n_bytes })
    }
}

/// The search for the end of one record, continued when more bytes are there.
struct Scan {
    framing: Framing,
    state: State,
    n_seen: usize,
    n_breaks: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Field,
    Quoted,
    QuotedQuote,
}

impl Scan {
    fn new(framing: Framing) -> Self {
        Self { framing, state: State::FieldStart, n_seen: 0, n_breaks: 0 }
    }

    /// Returns the length of the record at the start of `bytes`, without its line break, when it is complete.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let unseen = &bytes[self.n_seen..];
        let found = match self.framing {
            Framing::Line => unseen.iter().position(|byte| *byte == b'\n'),
            Framing::Csv { delimiter, quote } => unseen.iter().position(|byte| self.step(*byte, delimiter, quote)),
        };
        let at = found.map(|at| self.n_seen + at);
        self.n_seen = bytes.len();
        at
    }

    fn step(&mut self, byte: u8, delimiter: u8, quote: u8) -> bool {
        self.state = match self.state {
            State::Quoted if byte == quote => State::QuotedQuote,
            State::Quoted => {
                self.n_breaks += u64::from(byte == b'\n');
                State::Quoted
            }
            State::QuotedQuote if byte == quote => State::Quoted,
            _ if byte == b'\n' => return true,
            State::FieldStart if byte == quote => State::Quoted,
            _ if byte == delimiter => State::FieldStart,
            _ => State::Field,
        };
        false
    }

    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    /// Whether the record is long because a quote swallowed lines, rather than because one line is long.
    fn is_quoted_over_lines(&self) -> bool {
        self.n_breaks > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Hands out a few bytes at a time.
    struct Trickle(io::Cursor<Vec<u8>>, usize);

    impl Read for Trickle {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n_bytes = self.1.min(out.len());
            self.0.read(&mut out[..n_bytes])
        }
    }

    /// Cuts a text; returns the records with their places and the numbers of bytes of what was rejected.
    fn cut(text: &[u8], cutting: Cutting, rows_max: usize, at_once: usize) -> (Vec<(Place, Vec<u8>)>, Vec<u64>) {
        let input = Trickle(io::Cursor::new(text.to_vec()), at_once);
        let mut records = Records::new(Box::new(input), cutting, Place::START);
        let (mut found, mut rejected) = (Vec::new(), Vec::new());
        loop {
            let chunk = records.next_chunk(rows_max).expect("memory can be read");
            assert!(chunk.records.len() + chunk.rejected.len() <= rows_max);
            found.extend(chunk.records.iter().map(|record| (record.place, records.bytes(record).to_vec())));
            rejected.extend(chunk.rejected.iter().map(|rejected| rejected.n_bytes));
            if chunk.ended {
                assert_eq!(records.next().offset, text.len() as u64);
                return (found, rejected);
            }
        }
    }

    fn cutting(framing: Framing, record_bytes_max: usize) -> Cutting {
        Cutting { framing, blank: Blank::Empty, tail: Tail::Record, record_bytes_max }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn csv_records_are_cut_where_the_csv_library_cuts_them(
            rows in prop::collection::vec(prop::collection::vec("[a,\"\n å]{0,5}", 1..4), 0..12),
            rows_max in 1_usize..5,
            at_once in 1_usize..20,
        ) {
            let mut writer = ::csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            rows.iter().for_each(|row| writer.write_record(row).expect("memory can be written"));
            let text = writer.into_inner().expect("memory can be written");
            let framing = Framing::Csv { delimiter: b',', quote: b'"' };
            let (found, rejected) = cut(&text, cutting(framing, 1000), rows_max, at_once);
            prop_assert!(rejected.is_empty());
            prop_assert_eq!(found.len(), rows.len());
            for ((place, bytes), row) in found.iter().zip(&rows) {
                let start = usize::try_from(place.offset).expect("is small");
                prop_assert!(text[start..].starts_with(bytes));
                let n_lines = text[..start].iter().filter(|byte| **byte == b'\n').count() as u64;
                prop_assert_eq!(place.line, n_lines + 1);
                let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(bytes.as_slice());
                let fields = reader.records().next().expect("a record").expect("is text");
                prop_assert_eq!(fields.iter().collect::<Vec<_>>(), row.iter().collect::<Vec<_>>());
            }
        }

        #[test]
        fn lines_beyond_the_limit_are_rejected_and_no_others(
            lines in prop::collection::vec("[ab]{1,12}", 0..20),
            rows_max in 1_usize..5,
            at_once in 1_usize..20,
        ) {
            let text = lines.join("\n");
            let (found, rejected) = cut(text.as_bytes(), cutting(Framing::Line, 6), rows_max, at_once);
            let kept: Vec<&[u8]> = lines.iter().filter(|line| line.len() <= 6).map(|line| line.as_bytes()).collect();
            prop_assert_eq!(found.iter().map(|(_, bytes)| bytes.as_slice()).collect::<Vec<_>>(), kept);
            let long: Vec<u64> = lines.iter().map(|line| line.len() as u64).filter(|n_bytes| *n_bytes > 6).collect();
            prop_assert_eq!(rejected, long);
        }
    }
}
