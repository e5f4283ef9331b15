//! A manifest as a file: one line of JSON whose last member is the checksum of what is before it.
//!
//! JSON shows when it was cut off; the checksum shows when a position in it was altered. A file without one is believed,
//! so that a manifest can be mended by hand.

use super::failure::BROKEN;
use super::manifest::{FORMAT, Manifest};
use super::part::checksum;
use bytes::Bytes;
use headwater_core::{Error, Result};
use serde::Deserialize;

/// What stands between a manifest and its checksum.
const MEMBER: &str = ",\"manifest_checksum\":\"";

#[derive(Deserialize)]
struct Format {
    format: u32,
}

pub(super) fn encode(manifest: &Manifest) -> Result<Bytes> {
    let text = serde_json::to_string(manifest).map_err(|e| Error::internal(format!("the manifest: {e}")))?;
    let checksum = checksum(text.as_bytes());
    let open = text.strip_suffix('}').ok_or_else(|| Error::internal("the manifest is not an object"))?;
    Ok(Bytes::from(format!("{open}{MEMBER}{checksum}\"}}\n")))
}

/// Reads a manifest; `file` is its name for people.
pub(super) fn decode(bytes: &[u8], file: &str) -> Result<Manifest> {
    let broken = |what: String| Error::data(format!("the manifest '{file}' {what}")).with_help(BROKEN);
    let text = std::str::from_utf8(bytes).map_err(|_| broken("is not text".to_owned()))?.trim_end();
    if text.is_empty() {
        return Err(broken("is empty".to_owned()));
    }
    let not_json = |error: serde_json::Error| {
        broken(match error.classify() {
            serde_json::error::Category::Eof => format!("is cut off after {} bytes", bytes.len()),
            _ => format!("is not what was written: {error}"),
        })
    };
    // The number first: a later format may be anything else.
    let Format { format } = serde_json::from_str(text).map_err(not_json)?;
    if format > FORMAT {
        let message = format!("the manifest '{file}' has format {format}, this program reads up to {FORMAT}");
        return Err(Error::data(message).with_help("use the version of headwater that wrote it, or a later one"));
    }
    if let Some((open, written)) = text.rsplit_once(MEMBER) {
        let written = written.trim_end_matches(['"', '}']);
        let found = checksum(format!("{open}}}").as_bytes());
        if found != written {
            return Err(broken(format!("has been altered: its checksum is {found}, but {written} was written")));
        }
    }
    serde_json::from_str(text).map_err(not_json)
}
