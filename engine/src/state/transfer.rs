//! Moving large files: in pieces, so that a slow line does not run into the time limit of a single request.

use super::StateStore;
use super::failure::failed;
use super::store::AT_ONCE;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::Result;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};

/// The size of a piece: S3 wants at least 5 MB, and at most 10 000 of them.
const PIECE: usize = 16 << 20;

impl StateStore {
    /// Writes a file, in the place of one of that name.
    pub(super) async fn put(&self, path: &Path, bytes: Bytes) -> Result<()> {
        let cannot = |error| failed(format!("cannot write '{}'", self.shown(path)), error);
        if self.folder.is_some() || bytes.len() <= PIECE {
            return self.store.put(path, PutPayload::from(bytes)).await.map(|_| ()).map_err(cannot);
        }
        let upload = self.store.put_multipart(path).await.map_err(cannot)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PIECE);
        for from in (0..bytes.len()).step_by(PIECE) {
            upload.wait_for_capacity(AT_ONCE).await.map_err(cannot)?;
            upload.put(bytes.slice(from..(from + PIECE).min(bytes.len())));
        }
        upload.finish().await.map(|_| ()).map_err(cannot)
    }

    /// Reads a file that should have `length` bytes; it may have fewer or more.
    pub(super) async fn get(&self, path: &Path, length: u64) -> Result<Bytes> {
        let cannot = |error| failed(format!("cannot read '{}'", self.shown(path)), error);
        if self.folder.is_some() || length <= PIECE as u64 {
            return self.read(path).await;
        }
        let length = self.store.head(path).await.map_err(cannot)?.size;
        let pieces = (0..length).step_by(PIECE).map(|from| from..(from + PIECE as u64).min(length));
        let read = stream::iter(pieces).map(|piece| self.store.get_range(path, piece));
        let mut read = read.buffered(AT_ONCE);
        let mut bytes = BytesMut::new();
        while let Some(piece) = read.try_next().await.map_err(cannot)? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }
}
