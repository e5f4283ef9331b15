//! State in a bucket: `moto`'s server speaks S3.

use super::{block_on, manifest, part, rows, three_checkpoints};
use crate::support::Workplace;
use headwater_core::ErrorKind;
use headwater_engine::state::StateStore;
use object_store::aws::AmazonS3Builder;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const BUCKET: &str = "state-of-tests";

struct Server {
    process: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("HEADWATER_MOTO_SERVER") {
        return PathBuf::from(path);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let installed = cache.map(|cache| cache.join("headwater/venv/bin/moto_server"));
    installed.filter(|path| path.exists()).expect("moto_server is installed: ./dev test does, or HEADWATER_MOTO_SERVER")
}

fn start() -> Server {
    let mut command = Command::new(program());
    command.args(["-H", "127.0.0.1", "-p", "0"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("the server starts");
    let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
    let url = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("Running on ").map(|(_, url)| url.to_owned()));
    // Somebody has to read what it writes, or it stops.
    std::thread::spawn(move || lines.for_each(drop));
    let url = url.expect("it says where it listens").trim().to_owned();
    ureq::put(format!("{url}/{BUCKET}")).send_empty().expect("a bucket is made");
    Server { process, url }
}

fn store(server: &Server, bucket: &str) -> StateStore {
    let builder = AmazonS3Builder::new().with_bucket_name(bucket).with_endpoint(&server.url).with_allow_http(true);
    let builder = builder.with_region("us-east-1").with_access_key_id("test").with_secret_access_key("test");
    StateStore::new(Arc::new(builder.build().expect("a client")), "orders")
}

#[test]
fn a_bucket_is_as_good_as_a_folder() {
    let server = start();
    let place = Workplace::new();
    block_on(async {
        let state = store(&server, BUCKET);
        assert!(state.latest().await.expect("an answer").is_none());
        three_checkpoints(&state).await;
        let newest = state.latest().await.expect("an answer").expect("a checkpoint");
        let verified = state.verify(&newest).await;
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
        // A second process that runs the same pipeline is stopped at its first checkpoint.
        let second = store(&server, BUCKET);
        let other = part(&second, 3, &rows(0..5, 9)).await;
        let error = second.write_manifest(&manifest(3, vec![other], None)).await.expect_err("epoch 3 is taken");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("another process runs this pipeline"), "{error}");
        assert!(state.verify(&newest).await.faults.is_empty(), "the first one's parts are untouched");
        let merged = state.collect_garbage(1).await.expect("garbage is collected");
        assert_eq!((merged.manifests, merged.parts), (2, 0), "the savepoint keeps its parts");
        let missing = store(&server, "no-such-bucket").write_manifest(&newest).await.expect_err("no bucket");
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    });
    let (url, endpoint) = (format!("s3://{BUCKET}"), server.url.clone());
    let run = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["checkpoints"].iter().chain(arguments).chain(&["--state", &url]).copied().collect();
        let mut command = place.command(&arguments);
        command.env("AWS_ENDPOINT_URL", &endpoint).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "secret-word");
        let output = command.output().expect("the binary runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let list = run(&["list"]);
    assert!(list.contains("before-upgrade  savepoint"), "{list}");
    assert!(list.contains("3               checkpoint"), "{list}");
    assert!(run(&["verify"]).contains("before-upgrade: whole (2 parts"), "{}", run(&["verify"]));
    let deleted = run(&["delete", "before-upgrade"]);
    assert!(deleted.starts_with("deleted 'before-upgrade'; the pipeline removes its parts"), "{deleted}");
    assert!(run(&["show", "before-upgrade"]).contains("has no savepoint 'before-upgrade'"));
    drop(server);
    let gone = run(&["list"]);
    assert!(gone.starts_with("error: cannot list") && !gone.contains("secret-word"), "{gone}");
}
