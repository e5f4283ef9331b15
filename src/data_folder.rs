//! Where Headwater keeps things: one folder with inbox, store, imports and the tables a tenant may edit.

use headwater_core::{Error, Result};
use headwater_operators::functions::POLICY;
use headwater_pipelines::migrations::migrate;
use headwater_pipelines::shipped::{IMPACT, IMPACT_TABLES};
use std::fs;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The name of the screening policy among the tables.
const POLICY_NAME: &str = "policy.toml";

/// The data folder of one installation.
#[derive(Debug, Clone)]
pub(crate) struct DataFolder(PathBuf);

impl DataFolder {
    /// Opens the folder, creates it where it is missing, and brings its store up to date.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let folder = Self(path.to_owned());
        for part in [folder.0.clone(), folder.tables(), folder.imports()] {
            fs::create_dir_all(&part).map_err(|e| Error::io(format!("cannot create '{}'", part.display()), e))?;
        }
        for (name, text) in IMPACT_TABLES.iter().chain([&(POLICY_NAME, POLICY)]) {
            let table = folder.tables().join(name);
            if !table.exists() {
                write_whole(&table, text.as_bytes())?;
            }
        }
        migrate(&folder.store(), IMPACT.migrations)?;
        Ok(folder)
    }

    /// Opens a folder that must be there.
    pub(crate) fn existing(path: &Path) -> Result<Self> {
        let folder = Self(path.to_owned());
        if folder.store().exists() {
            return Ok(folder);
        }
        Err(Error::not_found(format!("there is no Headwater data in '{}'", path.display()))
            .with_help("name its folder with --data, or make one with 'headwater demo' or 'headwater serve'"))
    }

    pub(crate) fn inbox(&self) -> PathBuf {
        self.0.join("inbox")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("impact.db")
    }

    pub(crate) fn imports(&self) -> PathBuf {
        self.0.join("imports")
    }

    pub(crate) fn tables(&self) -> PathBuf {
        self.0.join("tables")
    }

    /// Reads the screening policy.
    pub(crate) fn policy(&self) -> Result<String> {
        let path = self.tables().join(POLICY_NAME);
        fs::read_to_string(&path).map_err(|e| Error::io(format!("cannot read '{}'", path.display()), e))
    }

    /// Where the API keeps what it must remember of requests.
    pub(crate) fn requests(&self) -> PathBuf {
        self.0.join("requests.db")
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    /// Returns the namespace from which ids of people are derived, and makes one the first time. It is random, so that
    /// an id does not tell the e-mail address to who only guesses addresses.
    pub(crate) fn namespace(&self) -> Result<Uuid> {
        let path = self.0.join("namespace");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| {
                Error::data(format!("'{}' does not hold a uuid", path.display()))
                    .with_help("restore it from a backup: ids of people are derived from it")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let namespace = Uuid::new_v4();
                write_whole(&path, namespace.to_string().as_bytes())?;
                Ok(namespace)
            }
            Err(error) => Err(Error::io(format!("cannot read '{}'", path.display()), error)),
        }
    }
}

/// Writes a file so that under its name there is all of it or nothing.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let result = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    result.map_err(|error| {
        // The message is about the failed write; that the rest of it stays behind as well would not help anybody.
        let _ = fs::remove_file(&temporary);
        Error::io(format!("cannot write '{}'", path.display()), error)
    })
}
