//! Removing what no checkpoint needs any more.
//!
//! A part is removed only when it is known that no manifest that stays names it: if one cannot be read, nothing is
//! removed. The manifest goes first, then its parts, so that what a crash leaves is at worst a part too many.

use super::StateStore;
use super::failure::failed;
use super::manifest::Manifest;
use super::store::{AT_ONCE, ManifestKey};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{Epoch, Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// In a bucket that nobody can lock, a part that no manifest names may be that of another process. One that is this
/// much older than the newest manifest is not on its way to any.
const ON_ITS_WAY_MS: i64 = 3_600_000;

/// How often garbage is collected before the parts are listed to find what nobody names.
const SWEEP_EVERY: u64 = 256;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Garbage {
    /// How many manifests.
    pub manifests: usize,
    /// How many parts.
    pub parts: usize,
    /// Whether parts that nobody names any more were left, because a pipeline may be about to name them again. The
    /// pipeline removes them itself when it starts, and from time to time.
    pub later: bool,
}

impl StateStore {
    /// Removes all checkpoints but the newest `retain` (at least one), and the parts that only they name. Savepoints
    /// and their parts stay.
    ///
    /// # Errors
    /// `Data` when a manifest that stays is broken, `Unavailable` when the store does not answer.
    pub async fn collect_garbage(&self, retain: usize) -> Result<Garbage> {
        let epochs = self.epochs().await?;
        let n_old = epochs.len().saturating_sub(retain.max(1));
        let old = epochs[..n_old].iter().map(|epoch| self.manifest_path(*epoch)).collect();
        let mut removed = self.remove(old).await?;
        let n_collected = self.collected.fetch_add(1, Ordering::Relaxed);
        if n_collected % SWEEP_EVERY == SWEEP_EVERY - 1 {
            removed.parts += self.sweep(None).await?.parts;
        }
        Ok(removed)
    }

    /// Removes manifests and the parts that only they name.
    async fn remove(&self, gone: Vec<Path>) -> Result<Garbage> {
        if gone.is_empty() {
            return Ok(Garbage::default());
        }
        let mut named = BTreeSet::new();
        for path in &gone {
            match self.read_manifest(path).await {
                Ok(manifest) => named.extend(manifest.files().cloned()),
                // What a broken one names is found at the next start.
                Err(error) if matches!(error.kind(), ErrorKind::Data | ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let kept = self.named_by_others(&gone).await?;
        let garbage: Vec<Path> =
            named.into_iter().filter(|file| !kept.contains(file)).map(|file| self.part_path(&file)).collect();
        let removed = Garbage { manifests: gone.len(), parts: garbage.len(), later: false };
        self.delete_files(gone).await?;
        self.delete_files(garbage).await?;
        Ok(removed)
    }

    /// Returns the parts that may not be removed when some manifests are.
    async fn named_by_others(&self, gone: &[Path]) -> Result<BTreeSet<String>> {
        let mut kept: BTreeSet<String> = self.mine().files().cloned().collect();
        let mut manifests = self.files("manifests").await?;
        manifests.extend(self.files("savepoints").await?);
        manifests.retain(|file| !gone.contains(&file.location));
        let keys: Vec<ManifestKey> =
            manifests.into_iter().map(|file| (file.location.clone(), file.size, written_ms(&file))).collect();
        self.mine().read.retain(|key, _| keys.contains(key));
        let read = stream::iter(keys).map(|key| self.names(key)).buffered(AT_ONCE);
        let named: Vec<Arc<BTreeSet<String>>> = read.try_collect().await?;
        kept.extend(named.iter().flat_map(|names| names.iter()).cloned());
        Ok(kept)
    }

    /// Returns the parts that a manifest names; it is read once.
    async fn names(&self, key: ManifestKey) -> Result<Arc<BTreeSet<String>>> {
        if let Some(known) = self.mine().read.get(&key) {
            return Ok(known.clone());
        }
        match self.read_manifest(&key.0).await {
            // Somebody has deleted it meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Arc::default()),
            Err(error) => Err(error),
            Ok(manifest) => {
                let names: Arc<BTreeSet<String>> = Arc::new(manifest.files().cloned().collect());
                self.mine().read.insert(key, names.clone());
                Ok(names)
            }
        }
    }

    /// Removes parts that no manifest names: what a crash left behind. It is called at the start, with the lock held
    /// and with the checkpoint that the pipeline goes on from, whose parts stay until the next one, whatever happens to
    /// its manifest.
    ///
    /// # Errors
    /// As for [`StateStore::collect_garbage`].
    pub async fn sweep(&self, from: Option<&Manifest>) -> Result<Garbage> {
        if let Some(from) = from {
            self.mine().held = from.files().cloned().collect();
        }
        // The parts first: one that is written after that is not in the list.
        let parts = self.files("parts").await?;
        let newest = self.files("manifests").await?.iter().map(written_ms).max();
        let kept = self.named_by_others(&[]).await?;
        let old = |part: &ObjectMeta| match (self.shared, newest) {
            (false, _) => true,
            (true, Some(newest)) => written_ms(part) + ON_ITS_WAY_MS < newest,
            (true, None) => false,
        };
        let garbage = parts.into_iter().filter(old).map(|part| part.location);
        let garbage: Vec<Path> = garbage.filter(|path| path.filename().is_some_and(|f| !kept.contains(f))).collect();
        let removed = Garbage { manifests: 0, parts: garbage.len(), later: false };
        self.delete_files(garbage).await?;
        Ok(removed)
    }

    /// Removes a checkpoint or a savepoint, and the parts that only it names.
    ///
    /// # Errors
    /// `Conflict` when it is the only checkpoint and `force` is not set, or the newest of a pipeline that is running;
    /// `NotFound` with the names that there are.
    pub async fn delete(&self, name: &str, force: bool) -> Result<Garbage> {
        let epochs = self.epochs().await?;
        let epoch = match (name, epochs.last()) {
            ("latest", Some(newest)) => Some(*newest),
            ("latest", None) => return self.find(name).await.map(|_| Garbage::default()),
            _ => name.parse().ok().map(Epoch),
        };
        let Some(epoch) = epoch else {
            if !self.savepoints().await?.iter().any(|savepoint| savepoint == name) {
                return self.savepoint(name).await.map(|_| Garbage::default());
            }
            return self.remove_carefully(self.savepoint_path(name), false).await;
        };
        if !epochs.contains(&epoch) {
            return self.checkpoint(epoch).await.map(|_| Garbage::default());
        }
        if epochs.len() == 1 && !force {
            return Err(Error::conflict(format!("checkpoint {epoch} is the only one of pipeline '{}'", self.pipeline))
                .with_help("without it the pipeline begins anew; --force deletes it all the same"));
        }
        let newest = epochs.last() == Some(&epoch);
        self.remove_carefully(self.manifest_path(epoch), newest).await
    }

    /// Removes a manifest, and its parts when it is certain that no running pipeline needs them.
    async fn remove_carefully(&self, path: Path, newest: bool) -> Result<Garbage> {
        let lock = match self.lock().await {
            // The next manifest of a running pipeline names parts of the newest one.
            Err(error) if newest || error.kind() != ErrorKind::Conflict => return Err(error),
            result => result.ok(),
        };
        if lock.is_some() && !self.shared {
            return self.remove(vec![path]).await;
        }
        self.delete_files(vec![path]).await?;
        Ok(Garbage { manifests: 1, parts: 0, later: true })
    }

    /// Removes the checkpoints of later epochs, when a pipeline is to go on from an earlier one. Their parts are swept.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer.
    pub async fn discard_later(&self, than: Epoch) -> Result<usize> {
        let later = self.epochs().await?.into_iter().filter(|epoch| *epoch > than);
        let paths: Vec<Path> = later.map(|epoch| self.manifest_path(epoch)).collect();
        let n = paths.len();
        self.delete_files(paths).await?;
        Ok(n)
    }

    async fn delete_files(&self, paths: Vec<Path>) -> Result<()> {
        let delete = stream::iter(paths).map(|path| async move {
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(failed(format!("cannot delete '{}'", self.shown(&path)), error)),
            }
        });
        delete.buffer_unordered(AT_ONCE).try_collect().await
    }
}

fn written_ms(file: &ObjectMeta) -> i64 {
    file.last_modified.timestamp_millis()
}
