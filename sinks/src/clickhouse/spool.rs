//! Blocks between an epoch's prepare and its commit: files of a folder that outlives the process, each written whole
//! and synchronised before it is named anywhere, or entries in memory for a run that nothing will go on from. A note
//! in the folder says which epoch was committed last.

use bytes::Bytes;
use headwater_core::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::fs;
use tokio::io::AsyncWriteExt;

const NOTE: &str = "committed";
const BLOCK: &str = ".arrow";

/// Where blocks wait.
pub(super) enum Spool {
    Memory(BTreeMap<String, Bytes>),
    Folder(PathBuf),
}

impl Spool {
    /// Opens the spool; a run that begins anew finds it empty.
    pub(super) async fn open(folder: Option<PathBuf>, begins: bool) -> Result<Self> {
        let Some(folder) = folder else { return Ok(Self::Memory(BTreeMap::new())) };
        fs::create_dir_all(&folder).await.map_err(|error| crate::failure::io("make the folder", &folder, error))?;
        let mut spool = Self::Folder(folder);
        if begins {
            spool.keep(|_| false).await?;
            if let Self::Folder(folder) = &spool {
                remove(&folder.join(NOTE)).await?;
            }
        }
        Ok(spool)
    }

    /// Keeps a block under a name.
    pub(super) async fn put(&mut self, name: &str, block: Bytes) -> Result<()> {
        match self {
            Self::Memory(blocks) => {
                blocks.insert(name.to_owned(), block);
                Ok(())
            }
            Self::Folder(folder) => write(folder, &format!("{name}{BLOCK}"), &block).await,
        }
    }

    /// Returns a block; `None` where there is none of this name.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match self {
            Self::Memory(blocks) => Ok(blocks.get(name).cloned()),
            Self::Folder(folder) => {
                let path = folder.join(format!("{name}{BLOCK}"));
                match fs::read(&path).await {
                    Ok(block) => Ok(Some(block.into())),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(crate::failure::io("read", &path, error)),
                }
            }
        }
    }

    /// Removes the blocks whose names are not wanted any more.
    pub(super) async fn keep(&mut self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        match self {
            Self::Memory(blocks) => blocks.retain(|name, _| wanted(name)),
            Self::Folder(folder) => {
                let failed = |error| crate::failure::io("list the folder", folder, error);
                let mut entries = fs::read_dir(&*folder).await.map_err(failed)?;
                while let Some(entry) = entries.next_entry().await.map_err(failed)? {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let is_block = name.strip_suffix(BLOCK).is_some_and(|name| !wanted(name));
                    if is_block || name.ends_with(".tmp") {
                        remove(&entry.path()).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The last epoch that was committed, as far as it is noted.
    pub(super) async fn committed(&self) -> Result<u64> {
        let Self::Folder(folder) = self else { return Ok(0) };
        let path = folder.join(NOTE);
        match fs::read_to_string(&path).await {
            Ok(text) => text.trim().parse().map_err(|_| Error::data(format!("'{}' is no number", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(crate::failure::io("read", &path, error)),
        }
    }

    /// Notes that an epoch is committed.
    pub(super) async fn note(&self, epoch: u64) -> Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Folder(folder) => write(folder, NOTE, epoch.to_string().as_bytes()).await,
        }
    }
}

/// Writes a file so that it is whole or absent, whatever happens.
async fn write(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    let (path, hidden) = (folder.join(name), folder.join(format!("{name}.tmp")));
    let written = async {
        let mut file = fs::File::create(&hidden).await?;
        file.write_all(content).await?;
        file.sync_all().await?;
        fs::rename(&hidden, &path).await?;
        fs::File::open(folder).await?.sync_all().await
    };
    written.await.map_err(|error| crate::failure::io("write", &path, error))
}

async fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(crate::failure::io("remove", path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn blocks_and_the_note_outlive_the_process() {
        let dir = tempfile::tempdir().expect("makes a folder");
        let folder = Some(dir.path().join("a/b"));
        let mut spool = Spool::open(folder.clone(), true).await.expect("opens");
        spool.put("1", Bytes::from_static(b"x")).await.expect("writes");
        spool.put("2", Bytes::from_static(b"y")).await.expect("writes");
        spool.note(7).await.expect("writes");
        let mut spool = Spool::open(folder.clone(), false).await.expect("opens");
        assert_eq!(spool.get("1").await.expect("reads"), Some(Bytes::from_static(b"x")));
        assert_eq!(spool.committed().await.expect("reads"), 7);
        spool.keep(|name| name == "2").await.expect("removes");
        assert_eq!(spool.get("1").await.expect("reads"), None);
        let spool = Spool::open(folder, true).await.expect("opens");
        assert_eq!((spool.committed().await.expect("reads"), spool.get("2").await.expect("reads")), (0, None));
    }
}
