//! A local folder as an object store whose files are on disk when they are said to be written.
//!
//! `object_store` renames a file into place without syncing it; after a power failure it might be empty. Here a file is
//! written under a hidden name and synced, then renamed, then its folder is synced.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path as FilePath, PathBuf};

const STORE: &str = "LocalFileSystem";

/// See the module.
#[derive(Debug)]
pub(super) struct Folder(LocalFileSystem);

impl Folder {
    /// Opens a folder that is there.
    pub(super) fn new(folder: &FilePath) -> Result<Self> {
        Ok(Self(LocalFileSystem::new_with_prefix(folder)?))
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Folder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let path = self.0.path_to_filesystem(location)?;
        let create = match options.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            PutMode::Update(_) => return self.0.put_opts(location, payload, options).await,
        };
        let written = tokio::task::spawn_blocking(move || write(&path, &payload, create)).await?;
        written.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::AlreadyExists { path: location.to_string(), source: error.into() },
            _ => Error::Generic { store: STORE, source: error.into() },
        })?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

fn write(path: &FilePath, payload: &PutPayload, create: bool) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::NotADirectory))?;
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
        // The new folder's own name is an entry of the one above.
        folder.parent().map_or(Ok(()), sync_folder)?;
    }
    let hidden = hidden(path);
    let placed = place(path, &hidden, payload, create);
    // After a rename it is gone; after a failure, or beside a link, it is in the way.
    match fs::remove_file(&hidden) {
        Err(error) if error.kind() != io::ErrorKind::NotFound && placed.is_ok() => return Err(error),
        _ => placed?,
    }
    sync_folder(folder)
}

fn place(path: &FilePath, hidden: &FilePath, payload: &PutPayload, create: bool) -> io::Result<()> {
    let mut file = File::create(hidden)?;
    payload.iter().try_for_each(|piece| file.write_all(piece))?;
    file.sync_all()?;
    drop(file);
    // A link fails where a file is already; a rename would replace it.
    if create { fs::hard_link(hidden, path) } else { fs::rename(hidden, path) }
}

/// Returns the name under which a file is written: lists leave out names that end in `#` and a number.
fn hidden(path: &FilePath) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("#{}", std::process::id()));
    PathBuf::from(name)
}

fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
