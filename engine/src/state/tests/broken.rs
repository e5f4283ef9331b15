//! What is missing, cut, altered or not understood is said, with the file and what to do.

use super::fixtures::{changes, key_of, manifest, store};
use crate::state::{Manifest, Part, PartName, StateStore, encode};
use headwater_core::{Epoch, Error, ErrorKind, Route};
use object_store::{ObjectStoreExt, PutPayload};

async fn part(store: &StateStore, epoch: u64) -> Part {
    let row = (Some("a".to_owned()), None, 1);
    let table = changes(&Route::Key(vec![1]), &[(key_of(&row), vec![row])].into());
    let name = PartName { epoch: Epoch(epoch), operator: "abc", subtask: (0, 1), table: "t" };
    store.write_part(&name, encode(&table).unwrap().unwrap()).await.unwrap()
}

async fn checkpoint(store: &StateStore, epoch: u64) -> Manifest {
    let manifest = manifest(epoch, vec![part(store, epoch).await]);
    store.write_manifest(&manifest).await.unwrap();
    manifest
}

fn is_data(error: &Error, words: &[&str]) {
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[tokio::test]
async fn every_flipped_bit_and_every_cut_of_a_part_is_found() {
    let store = store();
    let part = part(&store, 1).await;
    let path = store.part_path(&part.file);
    let whole = store.read_part(&part).await.unwrap();
    for at in (0..whole.len()).step_by(37) {
        let mut altered = whole.to_vec();
        altered[at] ^= 1 << (at % 8);
        store.store.put(&path, PutPayload::from(altered)).await.unwrap();
        let error = store.read_part(&part).await.unwrap_err();
        is_data(&error, &["p/parts/1-abc-0-t-", "altered", "checkpoints verify", "--from"]);
        store.store.put(&path, PutPayload::from(whole.slice(..at))).await.unwrap();
        let error = store.read_part(&part).await.unwrap_err();
        is_data(&error, &[&format!("has {at} bytes, but {} were written", whole.len())]);
    }
    store.store.delete(&path).await.unwrap();
    is_data(&store.read_part(&part).await.unwrap_err(), &["is missing"]);
}

#[tokio::test]
async fn every_flipped_bit_and_every_cut_of_a_manifest_is_found() {
    let store = store();
    let manifest = checkpoint(&store, 7).await;
    assert_eq!(store.latest().await.unwrap(), Some(manifest.clone()));
    let path = store.manifest_path(Epoch(7));
    let whole = store.read(&path).await.unwrap();
    for at in 0..whole.len() - 2 {
        store.store.put(&path, PutPayload::from(whole.slice(..at))).await.unwrap();
        is_data(&store.latest().await.unwrap_err(), &["p/manifests/00000000000000000007.json", "checkpoints verify"]);
        let mut altered = whole.to_vec();
        altered[at] ^= 1 << (at % 8);
        store.store.put(&path, PutPayload::from(altered)).await.unwrap();
        // A flipped bit in the name of the last member hides the checksum, and nothing else.
        match store.latest().await {
            Ok(found) => assert_eq!(found, Some(manifest.clone()), "byte {at}"),
            Err(error) => is_data(&error, &["00000000000000000007.json"]),
        }
    }
}

#[tokio::test]
async fn a_later_format_is_refused_by_its_number() {
    let store = store();
    let path = store.manifest_path(Epoch(3));
    store.store.put(&path, PutPayload::from_static(br#"{"format":2,"other":[]}"#)).await.unwrap();
    let error = store.latest().await.unwrap_err();
    is_data(&error, &["has format 2, this program reads up to 1", "a later one"]);
}

#[tokio::test]
async fn verifying_reports_every_fault() {
    let store = store();
    let good = manifest(1, vec![part(&store, 1).await, part(&store, 2).await, part(&store, 3).await]);
    let verified = store.verify(&good).await;
    assert_eq!((verified.parts, verified.faults.len()), (3, 0), "{:?}", verified.faults);
    let mut bad = good.clone();
    let parts = &mut bad.operators[0].tables[0].parts;
    store.store.delete(&store.part_path(&parts[0].file)).await.unwrap();
    parts[1].checksum = "0123456789abcdef".to_owned();
    parts[2].rows = 5;
    let faults: Vec<String> = store.verify(&bad).await.faults.iter().map(Error::to_string).collect();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[0].starts_with("view_1 (dedup text), table 't': the part 'p/parts/1-abc"), "{}", faults[0]);
    assert!(faults[0].contains("is missing"), "{}", faults[0]);
    assert!(faults[1].contains("altered"), "{}", faults[1]);
    assert!(faults[2].contains("1 rows and removes 0 keys, but 5 and 0"), "{}", faults[2]);
}

#[tokio::test]
async fn an_epoch_is_written_once() {
    let store = store();
    let mine = checkpoint(&store, 4).await;
    // The answer of the first try got lost: the second one finds its own.
    store.write_manifest(&mine).await.unwrap();
    let mut other = mine.clone();
    other.definition = "SELECT 2".to_owned();
    let error = store.write_manifest(&other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("another process runs this pipeline"), "{error}");
    assert_eq!(store.latest().await.unwrap(), Some(mine));
}

#[tokio::test]
async fn savepoints_are_found_by_name_and_names_are_taken_once() {
    let store = store();
    assert_eq!(store.latest().await.unwrap(), None);
    assert_eq!(store.find("latest").await.unwrap_err().kind(), ErrorKind::NotFound);
    let mut first = manifest(1, vec![part(&store, 1).await]);
    first.savepoint = Some("before-upgrade".to_owned());
    store.write_manifest(&first).await.unwrap();
    assert_eq!(store.savepoint("before-upgrade").await.unwrap(), first);
    assert_eq!(store.find("1").await.unwrap(), first);
    let error = store.find("other").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("checkpoints: 1; the savepoints: before-upgrade"), "{error}");
    let second = Manifest { epoch: Epoch(2), ..first.clone() };
    assert_eq!(store.write_manifest(&second).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.epochs().await.unwrap(), [Epoch(1)]);
    for name in ["", "latest", "12", "a/b", ".hidden", "ä", &"x".repeat(101)] {
        let error = store.write_manifest(&Manifest { savepoint: Some(name.to_owned()), ..second.clone() }).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid, "{name}");
    }
}

#[tokio::test]
async fn a_large_part_is_moved_in_pieces_and_is_the_same() {
    let store = store();
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|n| (n >> 12) as u8).collect();
    let checksum = crate::state::checksum(&bytes);
    let large = crate::state::EncodedPart { bytes: bytes.into(), rows: 1, removed: 0, checksum };
    let name = PartName { epoch: Epoch(1), operator: "abc", subtask: (0, 1), table: "t" };
    let part = store.write_part(&name, large.clone()).await.unwrap();
    assert!(store.read_part(&part).await.unwrap() == large.bytes);
    store.store.put(&store.part_path(&part.file), PutPayload::from(large.bytes.slice(..18_000_000))).await.unwrap();
    is_data(&store.read_part(&part).await.unwrap_err(), &["has 18000000 bytes, but 20000000 were written"]);
    store.store.delete(&store.part_path(&part.file)).await.unwrap();
    is_data(&store.read_part(&part).await.unwrap_err(), &["is missing"]);
}
