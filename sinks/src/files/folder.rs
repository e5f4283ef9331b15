//! A folder of files, each of one epoch: `part-<run>-<epoch>-<number>.<format>`. A run is one opening; its number
//! makes its files different from those of earlier runs, which stay. State: the open file and the closed ones of the
//! running epoch.

use super::part::{Part, sync_folder};
use super::{FilesSpec, Target};
use crate::failure;
use headwater_core::{Batch, Epoch, Error, Prepared, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder.
pub(super) struct Folder {
    spec: FilesSpec,
    run: u64,
    open: Option<Part>,
    closed: Vec<PathBuf>,
    n_parts: u64,
}

impl Folder {
    /// Opens a folder, which is made when it is missing.
    pub(super) fn open(spec: FilesSpec) -> Result<Self> {
        fs::create_dir_all(&spec.path).map_err(|error| failure::io("make the folder", &spec.path, error))?;
        let entries = spec.path.read_dir().map_err(|error| failure::io("list", &spec.path, error))?;
        let runs = entries.flatten().filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?.trim_start_matches('.').strip_prefix("part-")?;
            name.split('-').next()?.parse::<u64>().ok()
        });
        let run = runs.max().unwrap_or(0) + 1;
        Ok(Self { spec, run, open: None, closed: Vec::new(), n_parts: 0 })
    }

    fn roll(&mut self) -> Result<()> {
        if let Some(part) = self.open.take() {
            self.closed.push(part.close()?);
        }
        Ok(())
    }

    fn part(&mut self) -> Result<&mut Part> {
        if self.open.as_ref().is_some_and(|part| part.n_rows >= self.spec.rows_per_file_max) {
            self.roll()?;
        }
        if self.open.is_none() {
            self.n_parts += 1;
            let name = format!(".part-{:05}-{}.{}", self.run, self.n_parts, self.spec.format.extension());
            self.open = Some(Part::create(self.spec.path.join(name), &self.spec)?);
        }
        self.open.as_mut().ok_or_else(|| Error::internal("a file that was just opened is gone"))
    }
}

impl Target for Folder {
    fn write(&mut self, batch: Batch) -> Result<()> {
        let mut at = 0;
        while at < batch.n_rows() {
            let n_max = self.spec.rows_per_file_max;
            let part = self.part()?;
            let n_rows = (n_max - part.n_rows.min(n_max)).clamp(1, batch.n_rows() - at);
            part.write(batch.slice(at, n_rows), true)?;
            at += n_rows;
        }
        Ok(())
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        self.roll()?;
        let names = self.closed.drain(..).enumerate().map(|(number, hidden)| {
            let visible = format!("part-{:05}-{:08}-{number:03}.{}", self.run, epoch.0, self.spec.format.extension());
            (name(&hidden), visible)
        });
        let names: Vec<(String, String)> = names.collect();
        sync_folder(&self.spec.path.join("."))?;
        Ok(Prepared(serde_json::json!({ "files": names })))
    }

    fn commit(&mut self, _: Epoch, prepared: &Prepared) -> Result<()> {
        let wrong = |error| Error::data(format!("the prepared epoch of '{}': {error}", self.spec.table));
        let files = prepared.0.get("files").cloned().unwrap_or_default();
        let files: Vec<(String, String)> = serde_json::from_value(files).map_err(wrong)?;
        for (hidden, visible) in files {
            let (hidden, visible) = (self.spec.path.join(hidden), self.spec.path.join(visible));
            if !visible.exists() {
                fs::rename(&hidden, &visible).map_err(|error| failure::io("rename", &hidden, error))?;
            }
        }
        sync_folder(&self.spec.path.join("."))
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
