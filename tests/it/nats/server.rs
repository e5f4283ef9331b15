//! A NATS server with JetStream for one test: on a port of its own, its streams in a temporary folder, killed and
//! started again as a test wants. `./dev test` installs the program.

use async_nats::jetstream::{self, Context, stream};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The server.
pub(crate) struct NatsServer {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
}

impl NatsServer {
    /// Starts a server.
    pub(crate) fn start() -> Self {
        Self::with_arguments(&[])
    }

    /// Starts a server that is told more.
    pub(crate) fn with_arguments(arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut server = Self { child: None, folder, port, arguments };
        server.start_again();
        server
    }

    /// Starts the server where it was.
    pub(crate) fn start_again(&mut self) {
        let mut command = Command::new(program());
        command.args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"]).arg(self.folder.path());
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("nats-server: {error}; run ./dev test"));
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut said = Vec::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("the server ended: {said:?}")).expect("text");
            let is_ready = line.contains("Server is ready");
            said.push(line);
            if is_ready {
                break;
            }
        }
        // A server whose log nobody reads would stand still; the thread ends with it.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    /// Ends the server as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Connects a client of the test's own.
    pub(crate) async fn client(&self) -> Context {
        jetstream::new(async_nats::connect(self.url()).await.expect("the server lets us in"))
    }

    /// Makes a stream.
    pub(crate) async fn stream(&self, name: &str, subjects: &[&str]) -> Context {
        let context = self.client().await;
        let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
        let config = stream::Config { name: name.to_owned(), subjects, ..stream::Config::default() };
        context.create_stream(config).await.expect("the stream is made");
        context
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Publishes and waits until the stream has it.
pub(crate) async fn publish(context: &Context, subject: &str, payload: impl Into<Vec<u8>>) {
    let sent = context.publish(subject.to_owned(), payload.into().into()).await.expect("is sent");
    sent.await.expect("is stored");
}

/// Where `./dev` puts the program, or else the one on the path.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("HEADWATER_NATS_SERVER") {
        return path.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let installed = cache.map(|cache| cache.join("headwater/venv/bin/nats-server"));
    installed.filter(|path| path.is_file()).unwrap_or_else(|| "nats-server".into())
}
