//! Looking at stored state: what there is, and whether it is whole.

use super::manifest::{Manifest, OperatorState, Part, TableState};
use super::part::PartReader;
use super::store::AT_ONCE;
use super::{StateStore, restore_table};
use futures::{StreamExt, stream};
use headwater_core::{Epoch, Error, EventTime, Result};
use object_store::ObjectMeta;

/// A checkpoint or a savepoint in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The number of the epoch, or the name of the savepoint.
    pub name: String,
    /// Whether it is a savepoint.
    pub savepoint: bool,
    /// What it holds, or why that cannot be said.
    pub summary: Result<Summary>,
}

/// What a checkpoint holds, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The epoch.
    pub epoch: Epoch,
    /// The wall time of the epoch.
    pub time: EventTime,
    /// How many operators have state.
    pub operators: usize,
    /// How many files it is.
    pub parts: usize,
    /// How many bytes they have.
    pub bytes: u64,
}

impl From<&Manifest> for Summary {
    fn from(manifest: &Manifest) -> Self {
        Self {
            epoch: manifest.epoch,
            time: manifest.time,
            operators: manifest.operators.len(),
            parts: manifest.parts().count(),
            bytes: manifest.bytes(),
        }
    }
}

/// What a look at every byte of a checkpoint has found.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// How many parts were read.
    pub parts: usize,
    /// How many bytes they have.
    pub bytes: u64,
    /// What is wrong, each with its file.
    pub faults: Vec<Error>,
}

impl StateStore {
    /// Lists checkpoints, oldest first, and then savepoints by name. One that is broken is listed with its fault.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let mut files: Vec<(bool, ObjectMeta)> = Vec::new();
        files.extend(self.files("manifests").await?.into_iter().map(|file| (false, file)));
        files.extend(self.files("savepoints").await?.into_iter().map(|file| (true, file)));
        files.sort_by(|(a, x), (b, y)| (a, &x.location).cmp(&(b, &y.location)));
        let listed = stream::iter(files).map(|(savepoint, file)| async move {
            let name = file.location.filename().unwrap_or_default();
            let name = name.strip_suffix(".json").unwrap_or(name);
            let name = if savepoint { name.to_owned() } else { name.trim_start_matches('0').to_owned() };
            let summary = self.read_manifest(&file.location).await.map(|manifest| Summary::from(&manifest));
            Listed { name, savepoint, summary }
        });
        Ok(listed.buffered(AT_ONCE).collect().await)
    }

    /// Reads every part of a checkpoint and reports every fault.
    pub async fn verify(&self, manifest: &Manifest) -> Verified {
        let mut verified = Verified::default();
        for operator in &manifest.operators {
            for table in &operator.tables {
                for part in &table.parts {
                    verified.parts += 1;
                    verified.bytes += part.bytes;
                    if let Err(fault) = self.verify_part(table, part).await {
                        verified.faults.push(fault.at(place(operator, table)));
                    }
                }
            }
        }
        verified
    }

    async fn verify_part(&self, table: &TableState, part: &Part) -> Result<()> {
        let bytes = self.read_part(part).await?;
        let one = TableState { parts: vec![part.clone()], ..table.clone() };
        let (part, file) = (part.clone(), self.shown(&self.part_path(&part.file)));
        let read = tokio::task::spawn_blocking(move || {
            let mut rows = 0;
            restore_table(&one, std::slice::from_ref(&bytes), 0, 1, |batch| {
                rows += batch.num_rows() as u64;
                Ok(())
            })?;
            let removed = PartReader::open(&bytes)?.removed_rows()?;
            if (rows, removed) != (part.rows, part.removed) {
                return Err(Error::data(format!(
                    "it has {rows} rows and removes {removed} keys, but {} and {} were written",
                    part.rows, part.removed
                )));
            }
            Ok(())
        });
        let read = read.await.map_err(|error| Error::internal(format!("a task ended early: {error}")))?;
        read.map_err(|error| error.at(format!("the part '{file}'")))
    }
}

fn place(operator: &OperatorState, table: &TableState) -> String {
    format!("{} ({}), table '{}'", operator.node, operator.description, table.name)
}
