//! Decodes messages of PostgreSQL's output plugin `pgoutput`, protocol version 1, and puts transactions together. Pure:
//! bytes in, transactions out. What it does not know is refused, never skipped in silence.

use headwater_core::{Error, Result};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// A place in the server's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Lsn(pub(super) u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let part = |text: &str| u32::from_str_radix(text, 16).ok().map(u64::from);
        let parsed = text.split_once('/').and_then(|(high, low)| Some(Self(part(high)? << 32 | part(low)?)));
        parsed.ok_or_else(|| Error::data(format!("'{text}' is no place in a log of PostgreSQL")))
    }
}

/// A value as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    /// A long value that the change left as it was; it is not sent again.
    Unchanged,
    Text(String),
}

/// Columns of a table, by the names that they had when a change was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}

/// A change of a row; tuples have a value for each column of the relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Insert {
        after: Vec<Value>,
    },
    /// The old row, or of it the key alone when that has changed, or nothing.
    Update {
        before: Option<Old>,
        after: Vec<Value>,
    },
    Delete {
        before: Old,
    },
    Truncate,
}

/// A row that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Old {
    /// Whether all columns are there, or only those of the key.
    pub(super) is_whole: bool,
    pub(super) values: Vec<Value>,
}

/// What one transaction did to the tables of a publication.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) xid: u32,
    /// The place after its commit.
    pub(super) end: Lsn,
    /// The changes, each with the number of its relation.
    pub(super) changes: Vec<(u32, Change)>,
    /// How many messages it was.
    pub(super) n_messages: usize,
}

/// Puts transactions together from messages in the order of the log.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    relations: HashMap<u32, Relation>,
    open: Option<Transaction>,
}

impl Decoder {
    /// Returns the newest description of a relation.
    pub(super) fn relation(&self, number: u32) -> Option<&Relation> {
        self.relations.get(&number)
    }

    /// Takes a message; returns the transaction that it ends.
    pub(super) fn message(&mut self, bytes: &[u8]) -> Result<Option<Transaction>> {
        let mut read = Reader { bytes, whole: bytes };
        let kind = read.byte()?;
        if let Some(open) = &mut self.open {
            open.n_messages += 1;
        }
        match kind {
            b'B' => {
                read.take(16)?;
                let xid = read.u32()?;
                self.open = Some(Transaction { xid, end: Lsn(0), changes: Vec::new(), n_messages: 1 });
            }
            b'C' => {
                read.take(9)?;
                let end = Lsn(read.u64()?);
                let transaction = self.open.take().ok_or_else(|| read.wrong("a commit without a begin"))?;
                return Ok(Some(Transaction { end, ..transaction }));
            }
            b'R' => {
                let number = read.u32()?;
                let relation = read.relation()?;
                self.relations.insert(number, relation);
            }
            b'I' | b'U' | b'D' => {
                let number = read.u32()?;
                let change = read.change(kind)?;
                self.add(number, change, &read)?;
            }
            b'T' => {
                let n_relations = read.u32()?;
                read.byte()?;
                for _ in 0..n_relations {
                    let number = read.u32()?;
                    self.add(number, Change::Truncate, &read)?;
                }
            }
            // The names of types, where a transaction came from, and messages of programs say nothing about rows.
            b'Y' | b'O' | b'M' => {}
            other => return Err(read.wrong(&format!("unknown message '{}'", char::from(other).escape_default()))),
        }
        Ok(None)
    }

    fn add(&mut self, number: u32, change: Change, read: &Reader<'_>) -> Result<()> {
        let columns = self.relations.get(&number).map(|relation| relation.columns.len());
        let columns = columns.ok_or_else(|| read.wrong("a change of an unknown table"))?;
        let fits = |values: &[Value]| values.len() == columns;
        let is_sound = match &change {
            Change::Insert { after } => fits(after),
            Change::Update { before, after } => fits(after) && before.as_ref().is_none_or(|old| fits(&old.values)),
            Change::Delete { before } => fits(&before.values),
            Change::Truncate => true,
        };
        if !is_sound {
            return Err(read.wrong("a row with another number of columns than its table"));
        }
        let open = self.open.as_mut().ok_or_else(|| read.wrong("a change outside of a transaction"))?;
        open.changes.push((number, change));
        Ok(())
    }
}

/// Reads the parts of a message.
struct Reader<'a> {
    bytes: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: &str) -> Error {
        let at = self.whole.len() - self.bytes.len();
        Error::data(format!("PostgreSQL sent what cannot be decoded: {what}, at byte {at} of {}", self.whole.len()))
    }

    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.bytes.split_at_checked(n_bytes) else {
            return Err(self.wrong("the message ends too early"));
        };
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(self.take(2)?.iter().fold(0, |number, byte| number << 8 | u16::from(*byte)))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(self.take(4)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(self.take(8)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&mut self, n_bytes: usize) -> Result<String> {
        let bytes = self.take(n_bytes)?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.wrong("text that is not UTF-8"))
    }

    fn name(&mut self) -> Result<String> {
        let end = self.bytes.iter().position(|byte| *byte == 0);
        let n_bytes = end.ok_or_else(|| self.wrong("a name without an end"))?;
        let name = self.text(n_bytes)?;
        self.take(1)?;
        Ok(name)
    }

    fn relation(&mut self) -> Result<Relation> {
        let (schema, name) = (self.name()?, self.name()?);
        // The kind of replica identity was asked for when the source was opened.
        self.byte()?;
        let n_columns = self.u16()?;
        let mut columns = Vec::with_capacity(usize::from(n_columns));
        for _ in 0..n_columns {
            self.byte()?;
            columns.push(self.name()?);
            self.take(8)?;
        }
        // An empty name stands for the system's own schema.
        let schema = if schema.is_empty() { "pg_catalog".to_owned() } else { schema };
        Ok(Relation { schema, name, columns })
    }

    fn change(&mut self, kind: u8) -> Result<Change> {
        let mut before = None;
        let mut tag = self.byte()?;
        if matches!(tag, b'K' | b'O') && kind != b'I' {
            before = Some(Old { is_whole: tag == b'O', values: self.tuple()? });
            if kind == b'U' {
                tag = self.byte()?;
            }
        }
        match (kind, tag, before) {
            (b'I', b'N', None) => Ok(Change::Insert { after: self.tuple()? }),
            (b'U', b'N', before) => Ok(Change::Update { before, after: self.tuple()? }),
            (b'D', _, Some(before)) => Ok(Change::Delete { before }),
            _ => Err(self.wrong("a change without its row")),
        }
    }

    fn tuple(&mut self) -> Result<Vec<Value>> {
        let n_values = self.u16()?;
        let mut values = Vec::with_capacity(usize::from(n_values));
        for _ in 0..n_values {
            values.push(match self.byte()? {
                b'n' => Value::Null,
                b'u' => Value::Unchanged,
                b't' => {
                    let n_bytes = self.u32()? as usize;
                    Value::Text(self.text(n_bytes)?)
                }
                _ => return Err(self.wrong("a value that is no text")),
            });
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Vec<u8> {
        [text.as_bytes(), &[0]].concat()
    }

    fn relation() -> Vec<u8> {
        let column = |text: &str| [&[1][..], &name(text), &[0; 8]].concat();
        [b"R\0\0\0\x09".to_vec(), name("public"), name("t"), b"d\0\x02".to_vec(), column("id"), column("v")].concat()
    }

    fn begin(xid: u8) -> Vec<u8> {
        [b"B".to_vec(), vec![0; 16], vec![0, 0, 0, xid]].concat()
    }

    fn commit(end: u8) -> Vec<u8> {
        [b"C".to_vec(), vec![0; 9], vec![0, 0, 0, 1, 0, 0, 0, end], vec![0; 8]].concat()
    }

    const INSERT: &[u8] = b"I\0\0\0\x09N\0\x02t\0\0\0\x011n";
    const UPDATE: &[u8] = b"U\0\0\0\x09K\0\x02t\0\0\0\x011nN\0\x02t\0\0\0\x012u";
    const DELETE: &[u8] = b"D\0\0\0\x09O\0\x02t\0\0\0\x012t\0\0\0\x03\xc3\xa5b";
    const TRUNCATE: &[u8] = b"T\0\0\0\x01\0\0\0\0\x09";

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn messages_become_transactions() {
        let mut decoder = Decoder::default();
        let all = [relation(), begin(7), INSERT.into(), UPDATE.into(), DELETE.into(), TRUNCATE.into()];
        for message in all {
            assert_eq!(decoder.message(&message).expect("is sound"), None);
        }
        let changes = vec![
            Change::Insert { after: vec![text("1"), Value::Null] },
            Change::Update {
                before: Some(Old { is_whole: false, values: vec![text("1"), Value::Null] }),
                after: vec![text("2"), Value::Unchanged],
            },
            Change::Delete { before: Old { is_whole: true, values: vec![text("2"), text("åb")] } },
            Change::Truncate,
        ];
        let changes = changes.into_iter().map(|change| (9, change)).collect();
        let expected = Transaction { xid: 7, end: Lsn(1 << 32 | 5), changes, n_messages: 6 };
        assert_eq!(decoder.message(&commit(5)).expect("is sound"), Some(expected));
        assert_eq!(decoder.relation(9).expect("is known").columns, ["id", "v"]);
    }

    #[test]
    fn what_is_not_sound_is_refused_wherever_it_ends() {
        for message in [relation(), begin(1), commit(1), INSERT.into(), UPDATE.into(), DELETE.into(), TRUNCATE.into()] {
            for n_bytes in 0..message.len() - usize::from(message[0] == b'C') * 8 {
                let mut decoder = Decoder::default();
                decoder.message(&relation()).expect("is sound");
                decoder.message(&begin(1)).expect("is sound");
                decoder.message(&message[..n_bytes]).expect_err("is too short");
            }
        }
        let error = Decoder::default().message(INSERT).expect_err("an unknown table");
        assert_eq!(error.kind(), headwater_core::ErrorKind::Data);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), kind in 0_usize..7) {
            let mut decoder = Decoder::default();
            decoder.message(&relation()).expect("is sound");
            decoder.message(&begin(1)).expect("is sound");
            let _ = decoder.message(&[&[b"BCRIUDT"[kind]][..], &bytes].concat());
        }

        #[test]
        fn places_in_the_log_are_read_as_they_are_shown(number in any::<u64>()) {
            prop_assert_eq!(Lsn(number).to_string().parse::<Lsn>().expect("is one"), Lsn(number));
        }
    }
}
