//! The commands on a folder, as a user sees them.

use super::{block_on, manifest, three_checkpoints};
use crate::support::Workplace;
use expect_test::{Expect, expect};
use headwater_engine::state::StateStore;
use std::path::Path;

fn place() -> Workplace {
    let place = Workplace::new();
    block_on(three_checkpoints(&store(&place, "orders")));
    place
}

fn store(place: &Workplace, pipeline: &str) -> StateStore {
    let url = place.path().join("state");
    StateStore::at(url.to_str().expect("a path of characters"), pipeline).expect("a folder")
}

/// Checks what a command prints; sizes and checksums of compressed files are not ours to fix.
#[track_caller]
fn prints(place: &Workplace, arguments: &[&str], expected: &Expect) {
    let arguments: Vec<&str> = ["checkpoints"].iter().chain(arguments).chain(&["--state", "state"]).copied().collect();
    let ran = place.headwater(&arguments);
    expected.assert_eq(&without_sums(&format!("{}{}", ran.stdout, ran.stderr)));
}

/// Replaces checksums, and digits of sizes of which there are some.
fn without_sums(text: &str) -> String {
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    for at in 0..words.len() {
        let word = words[at].trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
        let sum = word.split('.').next().filter(|sum| sum.len() == 16 && sum.chars().all(|c| c.is_ascii_hexdigit()));
        if let Some(sum) = sum {
            words[at] = words[at].replace(sum, "SUM");
        }
        if word == "kB" || word == "B" {
            words[at] = words[at].replace("kB", " B");
            words[at - 1] = words[at - 1].replace(|c: char| c.is_ascii_digit() || c == '.', "#");
        }
    }
    words.concat()
}

fn part_files(place: &Workplace) -> Vec<String> {
    let entries = std::fs::read_dir(place.path().join("state/orders/parts")).expect("a folder of parts");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn alter(path: &Path) {
    let mut bytes = std::fs::read(path).expect("the part");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).expect("the part");
}

#[test]
fn list_says_what_there_is() {
    let place = place();
    prints(
        &place,
        &["list"],
        &expect![[r#"
        name            kind        epoch  time (UTC)           operators  parts    size
        1               checkpoint      1  2026-01-01 00:00:01          1      1  ###  B
        2               checkpoint      2  2026-01-01 00:00:02          1      2  ###  B
        3               checkpoint      3  2026-01-01 00:00:03          1      2  ###  B
        before-upgrade  savepoint       2  2026-01-01 00:00:02          1      2  ###  B
    "#]],
    );
}

#[test]
fn show_says_what_a_checkpoint_holds() {
    let place = place();
    prints(
        &place,
        &["show"],
        &expect![[r#"
        checkpoint 3 of pipeline 'orders'
          time (UTC)   2026-01-01 00:00:03
          parallelism  1
          size         ###  B in 2 parts

        source orders: file orders.json
          subtask  partition    position  watermark (UTC)
                0  orders.json  300       2026-01-01 00:00:00

        operator distinct_1: dedup by id
          table  subtask  rows  removed  parts    size
          seen   by key   1010        0      2  ###  B

        sink report: sqlite report.db table orders
          prepared by 1 subtask
    "#]],
    );
    prints(
        &place,
        &["show", "before-upgrade"],
        &expect![[r#"
        checkpoint 2 of pipeline 'orders'
          savepoint    before-upgrade
          time (UTC)   2026-01-01 00:00:02
          parallelism  1
          size         ###  B in 2 parts

        source orders: file orders.json
          subtask  partition    position  watermark (UTC)
                0  orders.json  200       2026-01-01 00:00:00

        operator distinct_1: dedup by id
          table  subtask  rows  removed  parts    size
          seen   by key   1010        0      2  ###  B

        sink report: sqlite report.db table orders
          prepared by 1 subtask
    "#]],
    );
    prints(
        &place,
        &["show", "7"],
        &expect![[r#"
        error: pipeline 'orders' has no checkpoint '7'
        help: there are the checkpoints: 1, 2, 3; the savepoints: before-upgrade
    "#]],
    );
    prints(
        &place,
        &["list", "--pipeline", "other"],
        &expect![[r#"
        error: there is no state of pipeline 'other' at 'state'
        help: there are: orders
    "#]],
    );
}

#[test]
fn several_pipelines_have_to_be_told_apart() {
    let place = place();
    block_on(store(&place, "other").write_manifest(&manifest(1, Vec::new(), None))).expect("epoch 1");
    prints(
        &place,
        &["list"],
        &expect![[r#"
        error: there is state of several pipelines at 'state'
        help: add --pipeline NAME; there are: orders, other
    "#]],
    );
    prints(
        &place,
        &["list", "--pipeline", "other"],
        &expect![[r#"
        name  kind        epoch  time (UTC)           operators  parts  size
        1     checkpoint      1  2026-01-01 00:00:01          1      0   # B
    "#]],
    );
    let none = place.headwater(&["checkpoints", "list", "--state", "nowhere"]).failed();
    expect!["error: there is no folder 'nowhere'"].assert_eq(&none);
}

#[test]
fn verify_reads_everything_and_reports_every_fault() {
    let place = place();
    prints(
        &place,
        &["verify"],
        &expect![[r#"
        1: whole (1 part, ###  B)
        2: whole (2 parts, ###  B)
        3: whole (2 parts, ###  B)
        before-upgrade: whole (2 parts, ###  B)
    "#]],
    );
    let files = part_files(&place);
    alter(&place.path().join("state/orders/parts").join(&files[0]));
    std::fs::remove_file(place.path().join("state/orders/parts").join(&files[1])).expect("the part");
    let newest = place.path().join("state/orders/manifests/00000000000000000003.json");
    let text = std::fs::read_to_string(&newest).expect("the manifest");
    std::fs::write(&newest, &text[..200]).expect("the manifest");
    prints(
        &place,
        &["verify"],
        &expect![[r#"
        1: 1 fault (1 part, ###  B)
          distinct_1 (dedup by id), table 'seen': the part 'state/orders/parts/1-5f3a-0-seen-SUM.arrow' has been altered: its checksum is SUM, but SUM was written
        2: 2 faults (2 parts, ###  B)
          distinct_1 (dedup by id), table 'seen': the part 'state/orders/parts/1-5f3a-0-seen-SUM.arrow' has been altered: its checksum is SUM, but SUM was written
          distinct_1 (dedup by id), table 'seen': the part 'state/orders/parts/2-5f3a-0-seen-SUM.arrow' is missing
        3: cannot be read
          the manifest 'state/orders/manifests/00000000000000000003.json' is cut off after 200 bytes
        before-upgrade: 2 faults (2 parts, ###  B)
          distinct_1 (dedup by id), table 'seen': the part 'state/orders/parts/1-5f3a-0-seen-SUM.arrow' has been altered: its checksum is SUM, but SUM was written
          distinct_1 (dedup by id), table 'seen': the part 'state/orders/parts/2-5f3a-0-seen-SUM.arrow' is missing
    "#]],
    );
    prints(
        &place,
        &["list"],
        &expect![[r#"
        name            kind        epoch  time (UTC)           operators  parts    size
        1               checkpoint      1  2026-01-01 00:00:01          1      1  ###  B
        2               checkpoint      2  2026-01-01 00:00:02          1      2  ###  B
        before-upgrade  savepoint       2  2026-01-01 00:00:02          1      2  ###  B
        3 (checkpoint) is broken: the manifest 'state/orders/manifests/00000000000000000003.json' is cut off after 200 bytes
        help: `headwater checkpoints verify` says what else is broken; `headwater run --from NAME` starts from an older checkpoint or a savepoint
    "#]],
    );
    prints(
        &place,
        &["show"],
        &expect![[r#"
        error: the manifest 'state/orders/manifests/00000000000000000003.json' is cut off after 200 bytes
        help: `headwater checkpoints verify` says what else is broken; `headwater run --from NAME` starts from an older checkpoint or a savepoint
    "#]],
    );
    assert!(!place.headwater(&["checkpoints", "verify", "1", "--state", "state"]).success);
}

#[test]
fn delete_removes_what_only_the_deleted_had() {
    let place = place();
    prints(
        &place,
        &["delete", "1"],
        &expect![[r#"
        deleted '1'; all its parts are needed by others
    "#]],
    );
    prints(
        &place,
        &["delete", "3"],
        &expect![[r#"
        deleted '3' and 1 part that only it had
    "#]],
    );
    prints(
        &place,
        &["delete", "2"],
        &expect![[r#"
        error: checkpoint 2 is the only one of pipeline 'orders'
        help: without it the pipeline begins anew; --force deletes it all the same
    "#]],
    );
    prints(
        &place,
        &["delete", "2", "--force"],
        &expect![[r#"
        deleted '2'; all its parts are needed by others
    "#]],
    );
    assert_eq!(part_files(&place).len(), 2, "the savepoint's parts stay");
    prints(
        &place,
        &["delete", "before-upgrade"],
        &expect![[r#"
        deleted 'before-upgrade' and 2 parts that only it had
    "#]],
    );
    assert!(part_files(&place).is_empty());
    prints(
        &place,
        &["delete", "before-upgrade"],
        &expect![[r#"
        error: pipeline 'orders' has no savepoint 'before-upgrade'
        help: there are the checkpoints: none; the savepoints: none
    "#]],
    );
    prints(
        &place,
        &["show"],
        &expect![[r#"
        error: pipeline 'orders' has no checkpoint
    "#]],
    );
}

#[test]
fn the_newest_checkpoint_of_a_running_pipeline_stays() {
    let place = place();
    let store = store(&place, "orders");
    let lock = block_on(store.lock()).expect("nobody else runs");
    let error = place.headwater(&["checkpoints", "delete", "latest", "--state", "state"]).failed();
    assert!(error.starts_with("error: pipeline 'orders' is running already (process "), "{error}");
    prints(
        &place,
        &["delete", "1"],
        &expect![[r#"
        deleted '1'; the pipeline removes its parts, at the latest when it starts next
    "#]],
    );
    drop(lock);
    prints(
        &place,
        &["delete", "latest"],
        &expect![[r#"
        deleted 'latest' and 1 part that only it had
    "#]],
    );
}
