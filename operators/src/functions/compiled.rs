//! Patterns that are compiled once and used for many rows: regular expressions, time patterns, JSON paths.
//!
//! Never compiles one twice while it is kept; the state is a table that is emptied when it is full.

use datafusion_common::Result;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The most patterns kept per function: patterns are constants nearly always, columns of them are rare.
const KEPT_MAX: usize = 64;

/// Compiled patterns by their text.
pub(crate) struct Compiled<T> {
    kept: Mutex<HashMap<String, Arc<T>>>,
    compile: fn(&str) -> Result<T, String>,
}

impl<T> Compiled<T> {
    /// Makes the table; the error of `compile` is a sentence for the user.
    pub(crate) fn new(compile: fn(&str) -> Result<T, String>) -> Self {
        Self { kept: Mutex::new(HashMap::new()), compile }
    }

    fn get(&self, pattern: &str) -> Result<Arc<T>> {
        // A thread that ended early left whole entries behind.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.get(pattern) {
            return Ok(found.clone());
        }
        let compiled = Arc::new((self.compile)(pattern).map_err(super::scalar::failed)?);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(pattern.to_owned(), compiled.clone());
        Ok(compiled)
    }

    /// Begins a batch: rows that follow each other with one pattern look it up once.
    pub(crate) fn batch(&self) -> Batch<'_, T> {
        Batch { table: self, last: None }
    }
}

/// The patterns of one batch.
pub(crate) struct Batch<'a, T> {
    table: &'a Compiled<T>,
    last: Option<(String, Arc<T>)>,
}

impl<T> Batch<'_, T> {
    /// Returns the compiled form of a pattern.
    pub(crate) fn get(&mut self, pattern: &str) -> Result<Arc<T>> {
        match &self.last {
            Some((text, compiled)) if text == pattern => Ok(compiled.clone()),
            _ => {
                let compiled = self.table.get(pattern)?;
                self.last = Some((pattern.to_owned(), compiled.clone()));
                Ok(compiled)
            }
        }
    }
}
