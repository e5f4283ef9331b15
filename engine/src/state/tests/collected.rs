//! Garbage collection removes what nobody needs, and never what a manifest that stays names.

use super::fixtures::{Model, changes, key_of, manifest, store};
use crate::state::{Garbage, Manifest, Part, PartName, StateStore, encode};
use headwater_core::{Epoch, ErrorKind, Route};
use object_store::{ObjectStoreExt, PutPayload};
use proptest::prelude::*;
use std::collections::BTreeSet;

async fn part(store: &StateStore, epoch: u64, value: i64) -> Part {
    let row = (Some("a".to_owned()), None, value);
    let changed: Model = [(key_of(&row), vec![row])].into();
    let name = PartName { epoch: Epoch(epoch), operator: "abc", subtask: (0, 1), table: "t" };
    store.write_part(&name, encode(&changes(&Route::Key(vec![1]), &changed)).unwrap().unwrap()).await.unwrap()
}

async fn files(store: &StateStore) -> BTreeSet<String> {
    let listed = store.files("parts").await.unwrap();
    listed.iter().map(|file| file.location.filename().unwrap().to_owned()).collect()
}

async fn named(store: &StateStore) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for listed in store.list().await.unwrap() {
        named.extend(store.find(&listed.name).await.unwrap().files().cloned());
    }
    named
}

#[derive(Debug, Clone)]
enum Step {
    /// A checkpoint with a new part; some of the former ones are merged away; it may be a savepoint.
    Checkpoint {
        drop: usize,
        savepoint: bool,
    },
    /// A part is written, its checkpoint is still on its way.
    Begin,
    Collect(usize),
    Delete(prop::sample::Index),
    /// The process is killed and started again.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..4_usize, prop::bool::weighted(0.2)).prop_map(|(drop, savepoint)| Step::Checkpoint { drop, savepoint }),
        2 => Just(Step::Begin),
        2 => (0..4_usize).prop_map(Step::Collect),
        1 => any::<prop::sample::Index>().prop_map(Step::Delete),
        1 => Just(Step::Crash),
    ]
}

#[derive(Default)]
struct World {
    epoch: u64,
    value: i64,
    /// The parts of the next manifest; the last ones are on their way.
    parts: Vec<Part>,
    on_their_way: Vec<Part>,
}

impl World {
    async fn step(&mut self, store: &mut StateStore, step: Step) {
        match step {
            Step::Checkpoint { drop, savepoint } => {
                self.begin(store).await;
                let merged = drop.min(self.parts.len());
                self.parts.drain(..merged);
                self.parts.append(&mut self.on_their_way);
                self.epoch += 1;
                let mut manifest = manifest(self.epoch, self.parts.clone());
                manifest.savepoint = savepoint.then(|| format!("save-{}", self.epoch));
                store.write_manifest(&manifest).await.unwrap();
            }
            Step::Begin => self.begin(store).await,
            Step::Collect(retain) => {
                store.collect_garbage(retain).await.unwrap();
                assert!(store.epochs().await.unwrap().len() <= retain.max(1));
            }
            Step::Delete(which) => {
                let listed = store.list().await.unwrap();
                if !listed.is_empty() {
                    let name = &which.get(&listed).name;
                    // The newest of a pipeline that runs is not deleted: there is a lock for that.
                    if *name != self.epoch.to_string() {
                        store.delete(name, false).await.unwrap();
                    }
                }
            }
            Step::Crash => {
                *store = StateStore::new(store.store.clone(), "p");
                self.on_their_way.clear();
                let latest = store.latest().await.unwrap();
                store.sweep(latest.as_ref()).await.unwrap();
                assert_eq!(files(store).await, named(store).await);
                self.parts = latest.map_or_else(Vec::new, |latest| latest.parts().cloned().collect());
            }
        }
    }

    async fn begin(&mut self, store: &StateStore) {
        self.value += 1;
        self.on_their_way.push(part(store, self.epoch + 1, self.value).await);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_a_manifest_names_is_there(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut store, mut world) = (store(), World::default());
            for step in steps {
                world.step(&mut store, step).await;
                let files = files(&store).await;
                let mut needed = named(&store).await;
                needed.extend(world.on_their_way.iter().map(|part| part.file.clone()));
                assert!(needed.is_subset(&files), "{:?} are gone", needed.difference(&files));
            }
            store.collect_garbage(1).await.unwrap();
        });
    }
}

#[tokio::test]
async fn a_broken_manifest_that_stays_keeps_everything() {
    let store = store();
    for epoch in 1..=3 {
        let part = part(&store, epoch, 1).await;
        store.write_manifest(&manifest(epoch, vec![part])).await.unwrap();
    }
    store.store.put(&store.manifest_path(Epoch(3)), PutPayload::from_static(b"{")).await.unwrap();
    assert_eq!(store.collect_garbage(1).await.unwrap_err().kind(), ErrorKind::Data);
    assert_eq!((store.epochs().await.unwrap().len(), files(&store).await.len()), (3, 3));
    // An older one that is broken goes as any other.
    store.store.delete(&store.manifest_path(Epoch(3))).await.unwrap();
    store.store.put(&store.manifest_path(Epoch(1)), PutPayload::from_static(b"{")).await.unwrap();
    assert_eq!(store.collect_garbage(1).await.unwrap(), Garbage { manifests: 1, parts: 0, later: false });
}

#[tokio::test]
async fn the_only_checkpoint_is_deleted_only_by_force() {
    let store = store();
    let kept = part(&store, 1, 1).await;
    store.write_manifest(&manifest(1, vec![kept.clone()])).await.unwrap();
    let error = store.delete("1", false).await.unwrap_err();
    assert!(error.to_string().contains("is the only one"), "{error}");
    let second: Manifest = manifest(2, vec![kept, part(&store, 2, 2).await]);
    store.write_manifest(&second).await.unwrap();
    assert_eq!(store.delete("1", false).await.unwrap(), Garbage { manifests: 1, parts: 0, later: false });
    assert_eq!(store.delete("latest", true).await.unwrap(), Garbage { manifests: 1, parts: 2, later: false });
    assert_eq!(store.delete("2", true).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(files(&store).await.is_empty());
}

#[tokio::test]
async fn what_is_gone_on_from_stays_until_the_next_checkpoint() {
    let store = store();
    let mut save = manifest(1, vec![part(&store, 1, 1).await]);
    save.savepoint = Some("s".to_owned());
    store.write_manifest(&save).await.unwrap();
    store.write_manifest(&manifest(2, vec![part(&store, 2, 2).await])).await.unwrap();
    let again = StateStore::new(store.store.clone(), "p");
    again.sweep(Some(&save)).await.unwrap();
    assert_eq!(again.discard_later(Epoch(1)).await.unwrap(), 1);
    again.store.delete(&again.savepoint_path("s")).await.unwrap();
    again.store.delete(&again.manifest_path(Epoch(1))).await.unwrap();
    again.sweep(None).await.unwrap();
    assert_eq!(files(&again).await, save.files().cloned().collect());
}
