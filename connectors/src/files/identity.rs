//! What is remembered of a file that was read, so that it is not gone on with when it is another one: how long it was,
//! its first bytes, and the bytes before the place that was reached. Contents and not inodes, because a folder that was
//! copied or put back is the same folder.

use crate::fnv::fnv;
use headwater_core::{Error, Result};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::str::FromStr;

/// How many bytes are looked at, at the start and before the place.
const LOOKED_AT: u64 = 1024;
/// What helps when a file is not what it was.
const HELP: &str = "put the file back as it was, give the new one another name, or start the pipeline anew";

/// A hash of some bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    n_bytes: u64,
    hash: u64,
}

/// What a file was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// How long it was.
    size: u64,
    head: Print,
    /// The bytes before the byte at the place; not for packed files, whose places are not those of bytes.
    before: Option<(u64, Print)>,
}

fn print(file: &File, start: u64, n_bytes: u64) -> std::io::Result<Print> {
    let mut bytes = vec![0; usize::try_from(n_bytes).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, start)?;
    Ok(Print { n_bytes, hash: fnv(&bytes) })
}

fn before(file: &File, offset: u64) -> std::io::Result<Print> {
    let n_bytes = offset.min(LOOKED_AT);
    print(file, offset - n_bytes, n_bytes)
}

impl Identity {
    /// Looks at a file of which `offset` bytes have been read; `None` where places are not those of bytes.
    pub(super) fn of(file: &File, offset: Option<u64>) -> std::io::Result<Self> {
        let size = file.metadata()?.len();
        let before = match offset {
            Some(offset) => Some((offset, before(file, offset)?)),
            None => None,
        };
        // Of a file that grows only what was read is known to stay.
        let n_bytes = offset.unwrap_or(size).min(LOOKED_AT);
        Ok(Self { size, head: print(file, 0, n_bytes)?, before })
    }

    /// Returns how long the file was.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Checks that the file at `path` can be the one that this was, grown or not.
    pub(super) fn check(&self, file: &File, path: &Path) -> Result<()> {
        let failed = |error| Error::io(format!("cannot read '{}'", path.display()), error);
        let refused = |what: String| Err(Error::data(format!("'{}' {what}", path.display())).with_help(HELP));
        let size = file.metadata().map_err(failed)?.len();
        // What was not read yet may have been cut off by whoever writes.
        let n_needed = self.before.map_or(self.size, |(offset, _)| offset);
        if size < n_needed {
            return refused(format!("has {size} bytes, {n_needed} of it had been read: it was cut or replaced"));
        }
        if print(file, 0, self.head.n_bytes).map_err(failed)? != self.head {
            let n_bytes = self.head.n_bytes;
            return refused(format!("was replaced: its first {n_bytes} bytes are not those that had been read"));
        }
        match self.before {
            Some((offset, wanted)) if before(file, offset).map_err(failed)? != wanted => {
                let n_bytes = wanted.n_bytes;
                refused(format!(
                    "was replaced: the {n_bytes} bytes before byte {offset} are not those that had been read"
                ))
            }
            Some(_) => Ok(()),
            // A packed file is whole from the start.
            None if size != self.size => {
                refused(format!("has {size} bytes and had {} when it was read: it was replaced", self.size))
            }
            None => Ok(()),
        }
    }
}

impl Identity {
    /// Checks that a file which was read to its end, and may have grown, was not left in the middle of a line.
    pub(super) fn check_last_line(&self, file: &File, path: &Path) -> Result<()> {
        let failed = |error| Error::io(format!("cannot read '{}'", path.display()), error);
        let Some((offset, _)) = self.before.filter(|(offset, _)| *offset > 0) else { return Ok(()) };
        let size = file.metadata().map_err(failed)?.len();
        let mut last = [0];
        file.read_exact_at(&mut last, offset - 1).map_err(failed)?;
        if size == offset || last == *b"\n" {
            return Ok(());
        }
        let path = path.display();
        let message = format!("'{path}' has {size} bytes; its last line ended at byte {offset} and has grown since");
        Err(Error::data(message).with_help("read files that grow with mode = 'tail'"))
    }
}

impl fmt::Display for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.n_bytes, self.hash)
    }
}

impl FromStr for Print {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (n_bytes, hash) = text.split_once(':').ok_or(())?;
        let n_bytes = n_bytes.parse().ok().filter(|n_bytes| *n_bytes <= LOOKED_AT).ok_or(())?;
        Ok(Self { n_bytes, hash: u64::from_str_radix(hash, 16).map_err(|_| ())? })
    }
}

impl fmt::Display for Identity {
    /// `size first-bytes`, and `offset bytes-before` where there are such.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.size, self.head)?;
        self.before.map_or(Ok(()), |(offset, print)| write!(f, " {offset} {print}"))
    }
}

impl FromStr for Identity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split(' ').collect();
        let (size, head, before) = match parts.as_slice() {
            [size, head] => (size, head, None),
            [size, head, offset, print] => {
                let offset: u64 = offset.parse().map_err(|_| ())?;
                (size, head, Some((offset, print.parse()?)).filter(|(at, print): &(u64, Print)| print.n_bytes <= *at))
            }
            _ => return Err(()),
        };
        Ok(Self { size: size.parse().map_err(|_| ())?, head: head.parse()?, before })
    }
}
