//! An object store that is slow, fails by chance, and is where a simulated process can end.

use super::fixtures::Crash;
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

/// A store in memory behind faults.
#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<InMemory>,
    chance: Mutex<ChaCha8Rng>,
    faults_per_hundred: u32,
    crash: Crash,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<InMemory>, seed: u64, faults_per_hundred: u32, crash: Crash) -> Self {
        Self { inner, chance: Mutex::new(ChaCha8Rng::seed_from_u64(seed)), faults_per_hundred, crash }
    }

    /// Takes its time, and may fail.
    async fn trouble(&self) -> Result<()> {
        self.crash.step().await;
        let (pause, fails) = {
            let mut chance = self.chance.lock().unwrap();
            (chance.random_range(0..30), chance.random_range(0..100) < self.faults_per_hundred)
        };
        sleep(Duration::from_millis(pause)).await;
        if fails {
            let source = "connection reset".into();
            return Err(object_store::Error::Generic { store: "faulty", source });
        }
        Ok(())
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.trouble().await?;
        let result = self.inner.put_opts(location, payload, options).await?;
        // The write has happened, and its answer may get lost.
        self.trouble().await?;
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.trouble().await?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
