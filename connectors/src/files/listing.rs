//! Which files a path means. Looks, never reads; no state.

use headwater_core::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// A path as a user wrote it.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    path: String,
    base: PathBuf,
    many: bool,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its name in positions and messages: relative to the pipeline where it can be.
    pub(super) name: String,
}

impl Listing {
    /// Names one file, or with `many` a folder or a glob.
    pub(super) fn new(path: &str, base: &Path, many: bool) -> Self {
        Self { path: path.to_owned(), base: base.to_owned(), many }
    }

    /// Returns the files that are there by now, sorted by path.
    pub(super) fn files_or_none(&self) -> Result<Vec<File>> {
        match self.files() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            files => files,
        }
    }

    /// Returns the files, sorted by path; there is at least one.
    pub(super) fn files(&self) -> Result<Vec<File>> {
        let path = self.base.join(&self.path);
        if self.many && path.is_dir() {
            return self.found(folder(&path, &self.path)?, "the folder has no file");
        }
        if self.many && self.path.contains(['*', '?', '[']) {
            return self.found(matches(&path, &self.path)?, "no file matches");
        }
        let metadata =
            path.metadata().map_err(|error| Error::io(format!("cannot read '{}'", path.display()), error))?;
        if metadata.is_dir() {
            return Err(Error::invalid(format!("'{}' is a folder, not a file", path.display()))
                .with_help("use connector = 'filesystem' for a folder"));
        }
        self.found(vec![path], "there is no file")
    }

    fn found(&self, mut paths: Vec<PathBuf>, none: &str) -> Result<Vec<File>> {
        if paths.is_empty() {
            return Err(Error::not_found(format!("{none}: '{}'", self.base.join(&self.path).display())));
        }
        paths.sort();
        let file = |path: PathBuf| {
            let name = path.strip_prefix(&self.base).unwrap_or(&path).display().to_string();
            File { path, name }
        };
        Ok(paths.into_iter().map(file).collect())
    }
}

/// Files whose names start so are being written, or are not meant to be seen.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn folder(path: &Path, shown: &str) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::io(format!("cannot list '{shown}'"), error);
    let mut paths = Vec::new();
    for entry in path.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() && !is_hidden(&path) {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn matches(pattern: &Path, shown: &str) -> Result<Vec<PathBuf>> {
    let wrong = |error: glob::PatternError| Error::invalid(format!("the path '{shown}' is no glob: {error}"));
    let found = glob::glob(&pattern.to_string_lossy()).map_err(wrong)?;
    let mut paths = Vec::new();
    for path in found {
        let path = path.map_err(|error| Error::io(format!("cannot list '{shown}'"), error.into()))?;
        if path.is_file() && !is_hidden(&path) {
            paths.push(path);
        }
    }
    Ok(paths)
}
