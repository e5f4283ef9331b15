//! Finds out what a file is: by its columns first, then by how its ids begin, then by its name. It reads the header
//! and one row, and nothing else.

use crate::Kind;
use crate::mapping::Mapping;
use crate::table::Table;
use headwater_core::{Error, Result};
use std::io::{Read, Seek, SeekFrom};

/// Finds the kind of a file, and leaves the reader at its beginning.
///
/// # Errors
/// `Invalid` when it has the columns of no kind, or the header cannot be read.
pub fn detect(file_name: &str, reader: &mut (impl Read + Seek)) -> Result<Kind> {
    let failed = |error| Error::io(format!("cannot read '{file_name}'"), error);
    reader.seek(SeekFrom::Start(0)).map_err(failed)?;
    let found = detect_columns(file_name, &mut *reader).map_err(|error| error.at(file_name.to_owned()));
    reader.seek(SeekFrom::Start(0)).map_err(failed)?;
    found
}

fn detect_columns(file_name: &str, reader: impl Read) -> Result<Kind> {
    let mut table = Table::open(reader)?;
    let headers = table.headers.clone();
    let first_cell = match table.advance()? {
        true => String::from_utf8_lossy(table.record().get(0).unwrap_or_default()).trim().to_uppercase(),
        false => String::new(),
    };
    let name = file_name.to_lowercase();
    let mut best: Option<((bool, bool, usize), Kind)> = None;
    for kind in Kind::ALL.iter().copied() {
        let mapping = Mapping::embedded(kind)?;
        let Some(score) = mapping.score(&headers) else { continue };
        let by_id = mapping.id_prefixes.iter().any(|prefix| first_cell.starts_with(prefix.as_str()));
        let by_name = mapping.file_words.iter().any(|word| name.contains(word.as_str()));
        let rank = (by_id, by_name, score);
        if best.is_none_or(|(known, _)| rank > known) {
            best = Some((rank, kind));
        }
    }
    best.map(|(_, kind)| kind).ok_or_else(|| {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        let shown: Vec<&str> = headers.iter().map(String::as_str).take(30).collect();
        Error::invalid(format!("the columns are those of no known export: {}", shown.join(", ")))
            .with_help(format!("name the kind yourself: {}", names.join(", ")))
    })
}
