//! A local folder: what is written is there, a lock is held by one, and failures of the file system are clear.

use super::fixtures::{changes, key_of, manifest};
use crate::state::{PartName, StateStore, encode};
use headwater_core::{Epoch, ErrorKind, Route};
use std::fs;

fn encoded() -> crate::state::EncodedPart {
    let row = (Some("a".to_owned()), None, 1);
    encode(&changes(&Route::Key(vec![1]), &[(key_of(&row), vec![row])].into())).unwrap().unwrap()
}

const NAME: PartName<'static> = PartName { epoch: Epoch(1), operator: "abc#2", subtask: (1, 4), table: "t" };

#[tokio::test]
async fn a_checkpoint_in_a_folder_is_found_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/state", folder.path().display());
    let store = StateStore::at(&url, "my pipeline").unwrap();
    assert!(store.latest().await.unwrap().is_none());
    assert!(store.list().await.unwrap().is_empty());
    let part = store.write_part(&NAME, encoded()).await.unwrap();
    assert!(part.file.starts_with("1-abc_2-1-t-"), "{}", part.file);
    let mut manifest = manifest(1, vec![part.clone()]);
    manifest.savepoint = Some("s".to_owned());
    store.write_manifest(&manifest).await.unwrap();
    let again = StateStore::at(&format!("file://{url}"), "my pipeline").unwrap();
    assert_eq!(again.latest().await.unwrap().as_ref(), Some(&manifest));
    assert_eq!(again.read_part(&part).await.unwrap(), encoded().bytes);
    assert_eq!(StateStore::pipelines(&url).await.unwrap(), ["my pipeline"]);
    let mut other = manifest.clone();
    other.savepoint = None;
    other.definition.clear();
    assert_eq!(again.write_manifest(&other).await.unwrap_err().kind(), ErrorKind::Conflict);
    let in_parts: Vec<_> = fs::read_dir(folder.path().join("state/my pipeline/parts")).unwrap().collect();
    assert_eq!(in_parts.len(), 1);
    let in_manifests: Vec<_> = fs::read_dir(folder.path().join("state/my pipeline/manifests")).unwrap().collect();
    assert_eq!(in_manifests.len(), 1, "a hidden file is left");
}

#[tokio::test]
async fn names_with_strange_characters_are_folders_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().to_str().unwrap();
    for name in ["50% off", "a|b", "größe"] {
        let store = StateStore::at(url, name).unwrap();
        let _lock = store.lock().await.unwrap();
        store.write_manifest(&manifest(1, Vec::new())).await.unwrap();
        assert_eq!(StateStore::at(url, name).unwrap().epochs().await.unwrap(), [Epoch(1)], "{name}");
    }
    let mut names = StateStore::pipelines(url).await.unwrap();
    names.sort();
    assert_eq!(names, ["50% off", "a|b", "größe"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[tokio::test]
async fn one_process_holds_the_lock_and_what_is_deleted_meanwhile_keeps_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().to_str().unwrap();
    let store = StateStore::at(url, "p").unwrap();
    let lock = store.lock().await.unwrap();
    let other = StateStore::at(url, "p").unwrap();
    let error = other.lock().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let expected = format!("pipeline 'p' is running already (process {})", std::process::id());
    assert!(error.to_string().starts_with(&expected), "{error}");
    StateStore::at(url, "q").unwrap().lock().await.unwrap();
    for epoch in 1..=2 {
        let part = store.write_part(&PartName { epoch: Epoch(epoch), ..NAME }, encoded()).await.unwrap();
        store.write_manifest(&manifest(epoch, vec![part])).await.unwrap();
    }
    assert_eq!(other.delete("2", false).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(other.delete("1", false).await.unwrap().later);
    assert_eq!(store.files("parts").await.unwrap().len(), 2);
    drop(lock);
    let _lock = other.lock().await.unwrap();
    assert_eq!(other.sweep(None).await.unwrap().parts, 1);
}

#[tokio::test]
async fn failures_of_the_file_system_are_clear() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("state");
    let store = StateStore::at(url.to_str().unwrap(), "p").unwrap();
    // Where the parts should be is a file.
    fs::create_dir_all(url.join("p")).unwrap();
    fs::write(url.join("p/parts"), "").unwrap();
    let error = store.write_part(&NAME, encoded()).await.unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
    assert!(error.to_string().starts_with(&format!("cannot write '{}/p/parts/1-abc", url.display())), "{error}");
    let missing = StateStore::pipelines(folder.path().join("none").to_str().unwrap()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    for (url, words) in [("", "empty"), ("ftp://x/y", "'ftp://…'"), ("s3:///x", "names no bucket")] {
        let error = StateStore::at(url, "p").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(words), "{error}");
    }
    let full = object_store::Error::Generic {
        store: "LocalFileSystem",
        source: Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)),
    };
    let error = crate::state::failure::failed("cannot write 'x'", full);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().starts_with("cannot write 'x': no space left on device\nhelp: free"), "{error}");
}
