//! Compressed files: gzip and Zstandard, several members after each other included. A compressed file is continued by
//! unpacking it again up to the place, because it has no other places to start from.

use crate::formats::records::Place;
use headwater_core::{Error, Options, Result};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// How much compressed input is read at once.
const BLOCK_BYTES: usize = 64 << 10;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// As its name says.
    Auto,
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Reads the option `compression`.
    pub(super) fn parse(options: &Options) -> Result<Self> {
        Ok(match options.one_of("compression", "auto", &["auto", "gzip", "zstd", "none"])? {
            "gzip" => Self::Gzip,
            "zstd" => Self::Zstd,
            "none" => Self::None,
            _ => Self::Auto,
        })
    }

    /// Returns how a file is packed, never `Auto`.
    pub(super) fn of(self, path: &Path) -> Self {
        match (self, path.extension().and_then(|extension| extension.to_str())) {
            (Self::Auto, Some("gz")) => Self::Gzip,
            (Self::Auto, Some("zst")) => Self::Zstd,
            (Self::Auto, _) => Self::None,
            (given, _) => given,
        }
    }

    /// Opens a file and unpacks it from the byte offset of `place` on.
    pub(super) fn open(self, path: &Path, place: Place) -> Result<Box<dyn Read + Send>> {
        let failed = |error| Error::io(format!("cannot read '{}'", path.display()), error);
        let mut file = File::open(path).map_err(failed)?;
        let mut unpacked: Box<dyn Read + Send> = match self.of(path) {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(BLOCK_BYTES, file))),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(file).map_err(failed)?),
            Self::Auto | Self::None => {
                let n_bytes = file.metadata().map_err(failed)?.len();
                check_length(path, n_bytes, place)?;
                file.seek(SeekFrom::Start(place.offset)).map_err(failed)?;
                return Ok(Box::new(file));
            }
        };
        let n_skipped = io::copy(&mut unpacked.by_ref().take(place.offset), &mut io::sink())
            .map_err(|error| corrupt(path, &error))?;
        check_length(path, n_skipped, place)?;
        Ok(unpacked)
    }
}

fn check_length(path: &Path, n_bytes: u64, place: Place) -> Result<()> {
    if n_bytes >= place.offset {
        return Ok(());
    }
    let message = format!("'{}' cannot be continued at byte {}: it has {n_bytes}", path.display(), place.offset);
    Err(Error::data(message))
}

/// Makes the error of a file whose bytes cannot be unpacked or read.
pub(super) fn corrupt(path: &Path, error: &io::Error) -> Error {
    use io::ErrorKind as Kind;
    let message = format!("cannot read '{}': {error}", path.display());
    match error.kind() {
        Kind::InvalidData | Kind::InvalidInput | Kind::UnexpectedEof | Kind::Other => Error::data(message),
        _ => Error::io(format!("cannot read '{}'", path.display()), io::Error::from(error.kind())),
    }
}
