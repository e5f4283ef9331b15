//! Remembers which files were imported and how far, so that a file is imported once and an interrupted import goes on.
//! One JSON file for each import, replaced as a whole: a crash leaves the old one or the new one. It is bounded by the
//! number of files that were ever imported.

use crate::{Kind, Summary};
use headwater_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use uuid::Uuid;

/// What names an import: the same bytes for another company, or read as another kind, are another import.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImportKey {
    /// The SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// What the file was read as.
    pub kind: Kind,
    /// Whose programme it is.
    pub company_id: Uuid,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportStatus {
    /// It was begun and has not ended.
    Running,
    /// All rows were read.
    Completed,
}

/// An import and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRecord {
    /// What names it.
    pub key: ImportKey,
    /// The name of the file.
    pub file_name: String,
    /// The size of the file.
    pub size_bytes: u64,
    /// How far it is.
    pub status: ImportStatus,
    /// The rows that were read and whose events are in the log.
    pub last_processed_row: u64,
    /// What they became.
    pub summary: Summary,
}

/// Remembers imports.
pub trait ImportLedger {
    /// Returns an import that was begun or ended earlier.
    ///
    /// # Errors
    /// `Data` when what is stored cannot be read.
    fn find(&self, key: &ImportKey) -> Result<Option<ImportRecord>>;

    /// Remembers how far an import is; durable when it returns.
    ///
    /// # Errors
    /// `Unavailable` and the like when it cannot be stored.
    fn save(&mut self, record: &ImportRecord) -> Result<()>;
}

/// Remembers imports as files in a folder.
#[derive(Debug)]
pub struct FileLedger {
    folder: PathBuf,
}

impl FileLedger {
    /// Makes a ledger in a folder, which is created when it is not there.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let shown = folder.display().to_string();
        fs::create_dir_all(&folder).map_err(|error| Error::io(format!("cannot create '{shown}'"), error))?;
        Ok(Self { folder })
    }

    fn path(&self, key: &ImportKey) -> PathBuf {
        self.folder.join(format!("{}-{}-{}.json", key.sha256, key.kind, key.company_id))
    }
}

impl ImportLedger for FileLedger {
    fn find(&self, key: &ImportKey) -> Result<Option<ImportRecord>> {
        let path = self.path(key);
        let shown = path.display();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Error::data(format!("'{shown}' is not a record of an import"))
                    .with_help(
                        "remove it to import the file again; rows that are known already are dropped as duplicates",
                    )
                    .with_cause(error)
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("cannot read '{shown}'"), error)),
        }
    }

    fn save(&mut self, record: &ImportRecord) -> Result<()> {
        let path = self.path(&record.key);
        let new = path.with_extension("new");
        let text = serde_json::to_string_pretty(record)
            .map_err(|error| Error::internal("a record of an import cannot be written").with_cause(error))?;
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| Error::io(format!("cannot write '{}'", path.display()), error))
    }
}
