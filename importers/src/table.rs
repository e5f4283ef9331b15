//! Reads a CSV file row by row: UTF-8 with or without a byte order mark, comma, semicolon or tab, whichever the header
//! uses. It never holds more than one record, and a record may have `RECORD_BYTES_MAX` bytes: what is longer is most
//! often a quotation mark that nobody closed, and ends the import.

use csv::{ByteRecord, ReaderBuilder};
use headwater_contracts::RECORD_BYTES_MAX;
use headwater_core::{Error, Result};
use std::io::{self, Chain, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much of a file is looked at to find the delimiter.
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// How much is read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// The most columns of a file.
const COLUMNS_MAX: usize = 1000;

/// A file that is being read.
pub(crate) struct Table<R> {
    csv: csv::Reader<Limited<Chain<Cursor<Vec<u8>>, R>>>,
    left: Arc<AtomicUsize>,
    record: ByteRecord,
    /// The headers as they are written.
    pub(crate) headers: Vec<String>,
    /// Between two cells.
    pub(crate) delimiter: u8,
}

impl<R: Read> Table<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// `Invalid` when there is none or it is not UTF-8; an error of reading.
    pub(crate) fn open(mut reader: R) -> Result<Self> {
        let mut head = Vec::new();
        reader
            .by_ref()
            .take(HEAD_BYTES_MAX)
            .read_to_end(&mut head)
            .map_err(|error| Error::io("cannot read it", error))?;
        if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) || head.contains(&0) {
            return Err(Error::invalid("the file is not UTF-8").with_help("save it as 'CSV UTF-8'"));
        }
        if head.starts_with(&[0xef, 0xbb, 0xbf]) {
            head.drain(..3);
        }
        let delimiter = find_delimiter(&head);
        let left = Arc::new(AtomicUsize::new(RECORD_BYTES_MAX + BUFFER_BYTES));
        let limited = Limited { inner: Cursor::new(head).chain(reader), left: left.clone() };
        let mut builder = ReaderBuilder::new();
        builder.delimiter(delimiter).has_headers(false).flexible(true).buffer_capacity(BUFFER_BYTES);
        let csv = builder.from_reader(limited);
        let mut table = Self { csv, left, record: ByteRecord::new(), headers: Vec::new(), delimiter };
        if !table.advance()? {
            return Err(Error::invalid("the file is empty").with_help("its first line names the columns"));
        }
        let header = |cell: &[u8]| String::from_utf8(cell.to_vec());
        let headers: Result<Vec<String>, _> = table.record.iter().map(header).collect();
        let not_utf8 = |_| Error::invalid("the header is not UTF-8").with_help("save the file as 'CSV UTF-8'");
        table.headers = headers.map_err(not_utf8)?;
        match table.headers.len() > COLUMNS_MAX {
            true => Err(Error::invalid(format!("the file has more than {COLUMNS_MAX} columns"))),
            false => Ok(table),
        }
    }

    /// Moves to the next row; returns whether there is one.
    ///
    /// # Errors
    /// `Data` when a record is too long; an error of reading.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        let line = self.csv.position().line();
        let found = self.csv.read_byte_record(&mut self.record);
        let too_long = self.left.load(Ordering::Relaxed) == 0 || self.record.as_slice().len() > RECORD_BYTES_MAX;
        self.left.store(RECORD_BYTES_MAX + BUFFER_BYTES, Ordering::Relaxed);
        if too_long {
            let message = format!("the record that starts at line {line} is longer than {RECORD_BYTES_MAX} bytes");
            return Err(Error::data(message).with_help("look for a quotation mark that is not closed"));
        }
        found.map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => Error::io(format!("cannot read line {line}"), error),
            other => Error::data(format!("line {line} is not CSV: {other:?}")),
        })
    }

    /// Returns the row.
    pub(crate) fn record(&self) -> &ByteRecord {
        &self.record
    }
}

/// Returns the delimiter that occurs most in the first line, outside quotation marks; a comma when none does.
fn find_delimiter(head: &[u8]) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in head.iter().skip_while(|byte| byte.is_ascii_whitespace()) {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            _ if quoted => {}
            _ => counts.iter_mut().filter(|(delimiter, _)| delimiter == byte).for_each(|(_, count)| *count += 1),
        }
    }
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| *delimiter)
}

/// A reader that ends with an error when a record takes too many bytes.
struct Limited<R> {
    inner: R,
    left: Arc<AtomicUsize>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other("the record is too long"));
        }
        let most = buffer.len().min(left);
        let n_read = self.inner.read(&mut buffer[..most])?;
        self.left.store(left - n_read, Ordering::Relaxed);
        Ok(n_read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_the_one_that_the_header_uses() {
        assert_eq!(find_delimiter(b"a,b,c\n1;2;3;4;5"), b',');
        assert_eq!(find_delimiter(b"a;\"b,b,b,b\";c\n"), b';');
        assert_eq!(find_delimiter(b"a\tb\n"), b'\t');
        assert_eq!(find_delimiter(b"alone"), b',');
    }

    #[test]
    fn a_quotation_mark_that_is_not_closed_ends_the_import_with_its_line() {
        let text = format!("a,b\n1,2\n\"3,{}", "x\n".repeat(RECORD_BYTES_MAX));
        let mut table = Table::open(text.as_bytes()).expect("a header");
        assert!(table.advance().expect("a row"));
        let error = table.advance().expect_err("too long").to_string();
        assert!(error.starts_with("the record that starts at line 3 is longer than"), "{error}");
    }

    #[test]
    fn a_long_file_of_short_records_is_read_to_its_end() {
        let text = format!("a,b\n{}", "1,2\n".repeat(RECORD_BYTES_MAX));
        let mut table = Table::open(text.as_bytes()).expect("a header");
        let mut n_rows = 0;
        while table.advance().expect("reads") {
            n_rows += 1;
        }
        assert_eq!(n_rows, RECORD_BYTES_MAX);
    }
}
