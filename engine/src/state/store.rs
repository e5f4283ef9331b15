//! Where a pipeline's state is kept: manifests, savepoints and parts below one prefix of an object store.
//!
//! Its state is small: the parts that this process has written and no manifest names yet, which nobody may collect.

use super::failure::{BROKEN, failed};
use super::manifest::{Manifest, Part, TableState};
use super::part::{EncodedPart, checksum};
use super::{manifest_file, place};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{Epoch, Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many files are read or deleted at once.
pub(super) const AT_ONCE: usize = 8;

/// Where a pipeline's state is kept. Cheap to clone.
#[derive(Clone)]
pub struct StateStore {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) pipeline: Arc<str>,
    /// The folder of the pipeline where the store is one.
    pub(super) folder: Option<Arc<PathBuf>>,
    /// Whether another process may write here at the same time.
    pub(super) shared: bool,
    root: Path,
    mine: Arc<Mutex<Mine>>,
    /// How often garbage was collected.
    pub(super) collected: Arc<AtomicU64>,
}

/// Files that nobody may collect though no manifest names them.
#[derive(Default)]
pub(super) struct Mine {
    /// Parts that this process has written and no manifest names yet.
    pub(super) unnamed: BTreeSet<String>,
    /// Parts of the checkpoint that this process goes on from, until the next one.
    pub(super) held: BTreeSet<String>,
    /// What manifests name that have been read: they never change.
    pub(super) read: HashMap<ManifestKey, Arc<BTreeSet<String>>>,
}

/// A manifest as it is listed: its path, its length, and when it was written.
pub(super) type ManifestKey = (Path, u64, i64);

impl Mine {
    pub(super) fn files(&self) -> impl Iterator<Item = &String> {
        self.unnamed.iter().chain(&self.held)
    }
}

impl fmt::Debug for StateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateStore").field("store", &self.store.to_string()).field("root", &self.root).finish()
    }
}

/// What a part is about; its file is named after it and after its checksum.
#[derive(Debug, Clone, Copy)]
pub struct PartName<'a> {
    /// The epoch that is on its way.
    pub epoch: Epoch,
    /// The identity of the operator.
    pub operator: &'a str,
    /// The subtask and how many there are.
    pub subtask: (usize, usize),
    /// The table.
    pub table: &'a str,
}

impl PartName<'_> {
    /// The checksum keeps two processes that wrongly run the same pipeline from overwriting each other's parts.
    fn file(&self, checksum: &str) -> String {
        let Self { epoch, operator, subtask: (subtask, _), table } = self;
        let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_");
        format!("{epoch}-{}-{subtask}-{}-{checksum}.arrow", plain(operator), plain(table))
    }
}

impl StateStore {
    /// Opens the state of a pipeline in a folder, or in a bucket (`s3://bucket/prefix`), whose settings come from the
    /// usual `AWS_…` variables. A folder is made.
    ///
    /// # Errors
    /// `Invalid` for a URL that says neither, and when the folder cannot be made.
    pub fn at(url: &str, pipeline: &str) -> Result<Self> {
        let place::Place { store, prefix, folder } = place::open(url, true)?;
        let mut opened = Self::new(store, pipeline);
        opened.root = prefix.join(pipeline);
        opened.shared = folder.is_none();
        opened.folder = folder.map(|folder| Arc::new(folder.join(Path::from_iter([pipeline]).as_ref())));
        Ok(opened)
    }

    /// Uses an object store as it is: nothing is locked.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, pipeline: &str) -> Self {
        let root = Path::from_iter([pipeline]);
        Self {
            store,
            pipeline: pipeline.into(),
            folder: None,
            shared: false,
            root,
            mine: Arc::default(),
            collected: Arc::default(),
        }
    }

    /// Returns the names of the pipelines whose state is at a URL.
    ///
    /// # Errors
    /// `NotFound` for a folder that is not there; otherwise as for [`StateStore::at`].
    pub async fn pipelines(url: &str) -> Result<Vec<String>> {
        let place::Place { store, prefix, .. } = place::open(url, false)?;
        let listed = store.list_with_delimiter(Some(&prefix)).await;
        let listed = listed.map_err(|error| failed(format!("cannot list '{url}'"), error))?;
        let names = listed.common_prefixes.iter().filter_map(|path| path.filename().map(place::decoded));
        Ok(names.collect())
    }

    /// Returns the name of the pipeline.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Returns the newest checkpoint; `None` where there is none.
    ///
    /// # Errors
    /// `Data` when its manifest is broken, `Unavailable` when the store does not answer.
    pub async fn latest(&self) -> Result<Option<Manifest>> {
        match self.epochs().await?.last() {
            Some(epoch) => self.checkpoint(*epoch).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns the epochs of all checkpoints, oldest first.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer.
    pub async fn epochs(&self) -> Result<Vec<Epoch>> {
        let files = self.files("manifests").await?;
        let mut epochs: Vec<Epoch> = files.iter().filter_map(|file| epoch_of(&file.location)).collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    /// Returns the names of all savepoints.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer.
    pub async fn savepoints(&self) -> Result<Vec<String>> {
        let files = self.files("savepoints").await?;
        let name = |file: &ObjectMeta| Some(file.location.filename()?.strip_suffix(".json")?.to_owned());
        let mut names: Vec<String> = files.iter().filter_map(name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Returns the checkpoint of an epoch.
    ///
    /// # Errors
    /// `NotFound`, with the epochs that there are; otherwise as for [`StateStore::latest`].
    pub async fn checkpoint(&self, epoch: Epoch) -> Result<Manifest> {
        match self.read_manifest(&self.manifest_path(epoch)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.no_such("checkpoint", epoch).await?),
            result => result,
        }
    }

    /// Returns a savepoint.
    ///
    /// # Errors
    /// `NotFound`, with the names that there are; otherwise as for [`StateStore::latest`].
    pub async fn savepoint(&self, name: &str) -> Result<Manifest> {
        check_savepoint_name(name)?;
        match self.read_manifest(&self.savepoint_path(name)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.no_such("savepoint", name).await?),
            result => result,
        }
    }

    /// Returns what a user's word means: `latest`, the number of an epoch, or the name of a savepoint.
    ///
    /// # Errors
    /// As for [`StateStore::savepoint`].
    pub async fn find(&self, name: &str) -> Result<Manifest> {
        if name == LATEST {
            let none = || Error::not_found(format!("pipeline '{}' has no checkpoint", self.pipeline));
            return self.latest().await?.ok_or_else(none);
        }
        match name.parse() {
            Ok(epoch) => self.checkpoint(Epoch(epoch)).await,
            Err(_) => self.savepoint(name).await,
        }
    }

    async fn no_such(&self, what: &str, name: impl fmt::Display) -> Result<Error> {
        let epochs: Vec<String> = self.epochs().await?.iter().map(Epoch::to_string).collect();
        let names = self.savepoints().await?;
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let error = Error::not_found(format!("pipeline '{}' has no {what} '{name}'", self.pipeline));
        Ok(error.with_help(format!("there are the checkpoints: {}; the savepoints: {}", list(&epochs), list(&names))))
    }

    /// Makes a checkpoint valid, and its savepoint when it has a name. It can be repeated after `Unavailable`.
    ///
    /// # Errors
    /// `Conflict` when the epoch has one already, which another process wrote, or a savepoint of that name exists.
    pub async fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        let bytes = manifest_file::encode(manifest)?;
        if let Some(name) = &manifest.savepoint {
            self.savepoint_is_free(name, &bytes).await?;
        }
        self.create(&self.manifest_path(manifest.epoch), bytes.clone()).await.map_err(|error| match error.kind() {
            ErrorKind::Conflict => Error::conflict(format!(
                "epoch {} of pipeline '{}' has a checkpoint already: another process runs this pipeline with the same \
                 state",
                manifest.epoch, self.pipeline
            )),
            _ => error,
        })?;
        {
            let named: BTreeSet<&String> = manifest.files().collect();
            let mut mine = self.mine();
            mine.unnamed.retain(|file| !named.contains(file));
            mine.held.clear();
        }
        match &manifest.savepoint {
            Some(name) => self.create(&self.savepoint_path(name), bytes).await,
            None => Ok(()),
        }
    }

    async fn savepoint_is_free(&self, name: &str, bytes: &Bytes) -> Result<()> {
        check_savepoint_name(name)?;
        match self.read(&self.savepoint_path(name)).await {
            Ok(there) if there == *bytes => Ok(()),
            Ok(_) => Err(Error::conflict(format!("pipeline '{}' has a savepoint '{name}' already", self.pipeline))
                .with_help("take another name, or delete it: headwater checkpoints delete")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes a file that must not be there, except by an earlier try whose answer got lost.
    async fn create(&self, path: &Path, bytes: Bytes) -> Result<()> {
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(path, PutPayload::from(bytes.clone()), options).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = failed(format!("cannot write '{}'", self.shown(path)), error);
                let is_ours = error.kind() == ErrorKind::Conflict && self.read(path).await? == bytes;
                if is_ours { Ok(()) } else { Err(error) }
            }
        }
    }

    /// Writes a part. It counts when a manifest names it; until then nobody collects it.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer or is full, `Invalid` when it may not be written to.
    pub async fn write_part(&self, name: &PartName<'_>, part: EncodedPart) -> Result<Part> {
        let EncodedPart { bytes, rows, removed, checksum } = part;
        let file = name.file(&checksum);
        self.mine().unnamed.insert(file.clone());
        let path = self.part_path(&file);
        let length = bytes.len() as u64;
        self.put(&path, bytes).await?;
        Ok(Part { file, bytes: length, rows, removed, checksum, subtask: name.subtask })
    }

    /// Reads a part and checks that it is what was written.
    ///
    /// # Errors
    /// `Data` when it is missing, cut or altered.
    pub async fn read_part(&self, part: &Part) -> Result<Bytes> {
        let path = self.part_path(&part.file);
        let shown = self.shown(&path);
        let broken = |what: String| Error::data(format!("the part '{shown}' {what}")).with_help(BROKEN);
        let bytes = match self.get(&path, part.bytes).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(broken("is missing".to_owned())),
            result => result?,
        };
        if bytes.len() as u64 != part.bytes {
            return Err(broken(format!("has {} bytes, but {} were written", bytes.len(), part.bytes)));
        }
        let found = checksum(&bytes);
        if found != part.checksum {
            return Err(broken(format!(
                "has been altered: its checksum is {found}, but {} was written",
                part.checksum
            )));
        }
        Ok(bytes)
    }

    /// Reads all parts of a table, in their order.
    ///
    /// # Errors
    /// As for [`StateStore::read_part`].
    pub async fn read_parts(&self, table: &TableState) -> Result<Vec<Bytes>> {
        let parts = stream::iter(table.parts.clone());
        parts.map(|part| async move { self.read_part(&part).await }).buffered(AT_ONCE).try_collect().await
    }

    pub(super) async fn read_manifest(&self, path: &Path) -> Result<Manifest> {
        let bytes = self.read(path).await?;
        manifest_file::decode(&bytes, &self.shown(path))
    }

    pub(super) async fn read(&self, path: &Path) -> Result<Bytes> {
        let cannot = |error| failed(format!("cannot read '{}'", self.shown(path)), error);
        self.store.get(path).await.map_err(cannot)?.bytes().await.map_err(cannot)
    }

    /// Lists the files of one kind.
    pub(super) async fn files(&self, kind: &str) -> Result<Vec<ObjectMeta>> {
        let prefix = self.root.clone().join(kind);
        let listed = self.store.list(Some(&prefix)).try_collect().await;
        listed.map_err(|error| failed(format!("cannot list '{}'", self.shown(&prefix)), error))
    }

    pub(super) fn manifest_path(&self, epoch: Epoch) -> Path {
        self.root.clone().join("manifests").join(format!("{:020}.json", epoch.0))
    }

    pub(super) fn savepoint_path(&self, name: &str) -> Path {
        self.root.clone().join("savepoints").join(format!("{name}.json"))
    }

    pub(super) fn part_path(&self, file: &str) -> Path {
        self.root.clone().join("parts").join(file)
    }

    /// Names a file as people find it.
    pub(super) fn shown(&self, path: &Path) -> String {
        match &self.folder {
            Some(folder) => {
                let within = path.prefix_match(&self.root).into_iter().flatten();
                let within = within.fold(folder.as_ref().clone(), |path, part| path.join(part.as_ref()));
                within.display().to_string()
            }
            None => path.to_string(),
        }
    }

    pub(super) fn mine(&self) -> MutexGuard<'_, Mine> {
        // A set is whole whatever a panicking holder did with it.
        self.mine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The word for the newest checkpoint.
const LATEST: &str = "latest";
/// Names of files end here on most systems, less what is added to them.
const SAVEPOINT_NAME_MAX: usize = 100;

/// Checks a name for a savepoint.
///
/// # Errors
/// `Invalid`, with what a name may be.
pub fn check_savepoint_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits =
        !name.is_empty() && name.len() <= SAVEPOINT_NAME_MAX && name.chars().all(plain) && !name.starts_with('.');
    if !fits || name == LATEST || name.parse::<u64>().is_ok() {
        return Err(Error::invalid(format!("'{name}' cannot be the name of a savepoint"))
            .with_help("letters, digits, '-', '_' and '.', at most 100; not a number, and not 'latest'"));
    }
    Ok(())
}

/// Returns the epoch in the name of a manifest or of a part.
pub(super) fn epoch_of(path: &Path) -> Option<Epoch> {
    let name = path.filename()?;
    name.split(['-', '.']).next()?.parse().ok().map(Epoch)
}

impl Manifest {
    /// Returns the files of all parts.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        self.parts().map(|part| &part.file)
    }

    /// Returns all parts.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.operators.iter().flat_map(|operator| &operator.tables).flat_map(|table| &table.parts)
    }

    /// Returns how many bytes its parts have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts().map(|part| part.bytes).sum()
    }
}
