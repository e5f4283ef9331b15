//! What the integration tests share: running the binary as a user does, in a folder of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What a run of the binary left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Fails the test, with all output, unless the run succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert!(self.success, "failed:\n{}{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the run failed with one clear message; returns it.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert!(!self.success, "succeeded:\n{}{}", self.stdout, self.stderr);
        let message = self.stderr.trim().to_owned();
        assert!(message.starts_with("error: "), "{message}");
        for noise in ["panicked", "backtrace", "RUST_BACKTRACE", "likely caused by a bug"] {
            assert!(!message.contains(noise), "{message}");
        }
        message
    }
}

/// A folder in which `headwater` is run.
pub(crate) struct Workplace(TempDir);

impl Workplace {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("the folder is made");
        std::fs::write(path, content).expect("the file is written");
    }

    /// Reads a file.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).expect("the file is there")
    }

    /// The names of all files, sorted; hidden ones too.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).expect("the folder is there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The command, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null()).env_remove("HEADWATER_LOG");
        // What `{{ HEADWATER_TEST_FOLDER }}` in options stands for.
        command.env("HEADWATER_TEST_FOLDER", "inputs");
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn headwater(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("the binary starts");
        Ran {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Writes a pipeline and runs it.
    pub(crate) fn run(&self, sql: &str) -> Ran {
        self.write("pipeline.sql", sql);
        self.headwater(&["run", "pipeline.sql"])
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
