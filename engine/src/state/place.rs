//! What a URL of state means: a folder, or a bucket.

use super::failure::failed;
use super::folder::Folder;
use headwater_core::{Error, Result};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A request to a bucket is repeated this often by the client; after that the engine hears of it and waits longer.
const RETRIES_MAX: usize = 3;
/// For how long a request is repeated.
const RETRIES_FOR: Duration = Duration::from_secs(10);

/// Where state is.
pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: Path,
    /// The folder, where it is one.
    pub(super) folder: Option<PathBuf>,
}

/// Opens the place that a URL names; a folder is made only when asked for.
pub(super) fn open(url: &str, make: bool) -> Result<Place> {
    match url.split_once("://") {
        Some(("s3", rest)) => bucket(url, rest),
        Some(("file", _)) => {
            let parsed = url::Url::parse(url).ok().and_then(|url| url.to_file_path().ok());
            folder(parsed.ok_or_else(|| Error::invalid(format!("'{url}' does not name a folder")))?, make)
        }
        Some((scheme, _)) => Err(Error::invalid(format!("state cannot be kept at '{scheme}://…'"))
            .with_help("name a folder, or a bucket as s3://bucket/prefix")),
        None if url.is_empty() => Err(Error::invalid("the place of the state is empty").with_help("name a folder")),
        None => folder(PathBuf::from(url), make),
    }
}

fn folder(folder: PathBuf, make: bool) -> Result<Place> {
    let shown = folder.display();
    if make {
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(format!("cannot make the folder '{shown}'"), e))?;
    } else if !folder.is_dir() {
        return Err(Error::not_found(format!("there is no folder '{shown}'")));
    }
    let store = Folder::new(&folder).map_err(|error| failed(format!("cannot open the folder '{shown}'"), error))?;
    Ok(Place { store: Arc::new(store), prefix: Path::default(), folder: Some(folder) })
}

fn bucket(url: &str, rest: &str) -> Result<Place> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(Error::invalid(format!("'{url}' names no bucket")).with_help("write s3://bucket/prefix"));
    }
    let prefix = Path::parse(prefix).map_err(|e| Error::invalid(format!("'{url}' has no usable prefix: {e}")))?;
    let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRIES_FOR, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
    // Who writes http:// means it; a second variable that says so again is only forgotten.
    let plain = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|endpoint| endpoint.starts_with("http://")));
    if plain {
        builder = builder.with_allow_http(true);
    }
    let store = builder.build().map_err(|error| failed(format!("cannot use '{url}'"), error))?;
    Ok(Place { store: Arc::new(store), prefix, folder: None })
}

/// Undoes how an object store writes characters that its paths do not have: `%` and two digits.
pub(super) fn decoded(name: &str) -> String {
    let bytes = name.as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| bytes[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                text.push(byte);
                at += 3;
            }
            None => {
                text.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}
