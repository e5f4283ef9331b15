//! Servers for one test: started in a temporary folder on a socket of their own, ended when dropped. A program that is
//! missing fails the test; `./dev test` installs them.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// PostgreSQL refuses to run as root; this is Debian's user without rights.
const NOBODY: u32 = 65_534;

/// A server process.
struct Server {
    child: Child,
    /// The signal that ends it at once and in order.
    signal: &'static str,
}

impl Server {
    /// Starts a server and waits until it says that it is ready.
    fn start(mut command: Command, on_stderr: bool, ready: &str, signal: &'static str) -> Self {
        let program = command.get_program().to_owned();
        let (out, err) = if on_stderr { (Stdio::null(), Stdio::piped()) } else { (Stdio::piped(), Stdio::null()) };
        let spawned = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{}: {error}; run ./dev test", program.display()));
        let stream: Box<dyn Read + Send> = if on_stderr {
            Box::new(child.stderr.take().expect("piped"))
        } else {
            Box::new(child.stdout.take().expect("piped"))
        };
        let server = Self { child, signal };
        let mut lines = BufReader::new(stream).lines();
        let mut said = Vec::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("the server ended: {said:?}")).expect("text");
            let is_ready = line.contains(ready);
            said.push(line);
            if is_ready {
                break;
            }
        }
        // A server whose log nobody reads would stand still; the thread ends with it.
        std::thread::spawn(move || lines.for_each(drop));
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").args([self.signal, &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// A PostgreSQL server with one database, `postgres`.
pub(crate) struct Postgres {
    server: Option<Server>,
    folder: TempDir,
    settings: Vec<String>,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// Starts a server with settings such as `port=5433`, which may name files that are put into its folder.
    pub(crate) fn start_with(settings: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = settings(folder.path());
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("the folder is given away");
            for entry in std::fs::read_dir(folder.path()).expect("the folder is listed") {
                let path = entry.expect("an entry").path();
                chown(path, Some(NOBODY), Some(NOBODY)).expect("the file is given away");
            }
        }
        let data = folder.path().join("data");
        let made =
            as_nobody("initdb").arg("-D").arg(&data).args(["-U", "headwater", "-A", "trust", "--no-sync"]).output();
        let made = made.unwrap_or_else(|error| panic!("initdb: {error}; run ./dev test"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { server: None, folder, settings };
        server.again();
        server
    }

    /// Starts the server again, over the same data.
    pub(crate) fn again(&mut self) {
        let mut command = as_nobody("postgres");
        command.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
        command.args(["-c", "fsync=off"]);
        if self.settings.is_empty() {
            command.args(["-c", "listen_addresses="]);
        }
        self.settings.iter().for_each(|setting| _ = command.args(["-c", setting]));
        self.server = Some(Server::start(command, true, "ready to accept connections", "-INT"));
    }

    /// Ends the server; its data stays.
    pub(crate) fn stop(&mut self) {
        self.server = None;
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("postgresql:///postgres?host={}&user=headwater&password=s3cret", self.folder.path().display())
    }

    /// Runs SQL and returns what it prints, a line a row.
    pub(crate) fn sql(&self, sql: &str) -> Vec<String> {
        let mut command = Command::new(postgres_program("psql"));
        command.arg("-h").arg(self.folder.path()).args(["-U", "headwater", "-d", "postgres", "-X", "-q", "-t", "-A"]);
        let output = command.args(["-v", "ON_ERROR_STOP=1", "-c", sql]).output().expect("psql runs");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

/// A ClickHouse server: the engine in a Python process behind its HTTP interface, see
/// `tests/support/clickhouse_server.py`. It is killed, not ended.
pub(crate) struct ClickHouse {
    server: Option<Server>,
    folder: TempDir,
    port: u16,
}

impl ClickHouse {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut server = Self { server: None, folder, port: free_port() };
        server.again();
        server
    }

    /// Starts the server again, over the same data.
    pub(crate) fn again(&mut self) {
        let mut command = Command::new(python());
        command.arg(crate::support::repository("tests/support/clickhouse_server.py"));
        command.arg("--data").arg(self.folder.path().join("data")).args(["--port", &self.port.to_string()]);
        command.args(["--password", "s3cret"]);
        self.server = Some(Server::start(command, false, "ready", "-KILL"));
    }

    /// Kills the server; its data stays.
    pub(crate) fn stop(&mut self) {
        self.server = None;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs SQL and returns what it prints, a line a row.
    pub(crate) fn sql(&self, sql: &str) -> Vec<String> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let answer = agent.post(self.url()).header("X-ClickHouse-Key", "s3cret").send(sql);
        let mut answer = answer.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let text = answer.body_mut().read_to_string().expect("text");
        assert!(answer.status().is_success(), "{sql}: {text}");
        text.lines().map(str::to_owned).collect()
    }
}

/// A port that nobody uses now.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// The Python that `./dev test` installs packages for.
fn python() -> PathBuf {
    let cache = || {
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home).expect("a home");
        cache.join("headwater/venv/bin/python")
    };
    std::env::var_os("HEADWATER_PYTHON").map_or_else(cache, PathBuf::from)
}

/// A Redis server.
pub(crate) struct Redis {
    _server: Server,
    folder: TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--requirepass", "s3cret"]);
        command.arg("--unixsocket").arg(folder.path().join("redis.sock")).arg("--dir").arg(folder.path());
        let server = Server::start(command, false, "accept connections", "-TERM");
        Self { _server: server, folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}?pass=s3cret", self.folder.path().join("redis.sock").display())
    }

    pub(crate) fn command(&self, arguments: &[&str]) {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(self.folder.path().join("redis.sock")).args(["-a", "s3cret", "--no-auth-warning", "-e"]);
        let output = command.args(arguments).output().expect("redis-cli runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").expect("this is Linux").uid() == 0
}

fn as_nobody(program: &str) -> Command {
    let mut command = Command::new(postgres_program(program));
    // The folder of the test may be closed to others.
    command.current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Debian keeps the programs of each version in a folder of its own, most of them off the path.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).collect();
    programs.sort();
    programs.pop().unwrap_or_else(|| Path::new(name).to_owned())
}
