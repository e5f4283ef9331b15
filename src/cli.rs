//! The command line: what can be asked of `headwater`. It never does anything itself.

use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A streaming engine for impact data: programme events in, audited social-return metrics out.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline to the end of its input, or until Ctrl-C.
    Run {
        /// The SQL file.
        file: PathBuf,
        /// How many subtasks each step may have.
        #[arg(short, long, default_value_t = 1, value_parser = parallelism)]
        parallelism: usize,
        #[command(flatten)]
        state: State,
    },
    /// Check a pipeline without running it.
    Check {
        /// The SQL file.
        file: PathBuf,
    },
    /// Show the graph of a pipeline: what it keeps, which rows go where, how many subtasks each step may have.
    Explain {
        /// The SQL file.
        file: PathBuf,
        /// Add the columns of every step and the optimized plans.
        #[arg(long, conflicts_with = "changes")]
        verbose: bool,
        /// Show for each edge how changes are told: never, as retractions, or as upserts by key.
        #[arg(long)]
        changes: bool,
        /// Run the pipeline to the end of its input, without writing anything, and show what each step read, emitted
        /// and kept.
        #[arg(long, conflicts_with_all = ["verbose", "changes"])]
        analyze: bool,
        /// How many subtasks each step of the run may have.
        #[arg(short, long, default_value_t = 1, value_parser = parallelism, requires = "analyze")]
        parallelism: usize,
    },
    /// Ask the reporting store a question in SQL (SQLite's dialect, read-only).
    Query {
        /// The question, for example "SELECT * FROM companies".
        sql: String,
        #[command(flatten)]
        data: Data,
    },
    /// What pipelines would go on from: checkpoints and savepoints.
    #[command(subcommand)]
    Checkpoints(Checkpoints),
    /// The event types that are understood.
    #[command(subcommand)]
    Contracts(Contracts),
    /// Import files exported from programme systems.
    Import(Import),
    /// Publish the events of a file (one JSON object a line) to the event bus. Repeating it is harmless.
    Publish(Publish),
    /// Follow what is published to the event bus, one line of JSON an event.
    Tail(Tail),
    /// Make plausible data.
    #[command(subcommand)]
    Generate(Generate),
    /// Run the impact pipeline and serve its API.
    Serve {
        #[command(flatten)]
        serve: Serve,
        #[command(flatten)]
        data: Data,
    },
    /// Import the sample files and a generated year, show the metrics, serve the API.
    Demo {
        #[command(flatten)]
        size: Size,
        #[command(flatten)]
        serve: Serve,
        /// Where the demo keeps its data.
        #[arg(long, value_name = "FOLDER", default_value = ".headwater/demo")]
        data: PathBuf,
        /// Stop after the metrics are shown.
        #[arg(long)]
        once: bool,
    },
}

/// The event bus.
#[derive(Debug, Args)]
#[group(id = "bus_address")]
pub(crate) struct BusAddress {
    /// The event bus: nats://host:4222 or kafka://host:9092. By default the environment variable HEADWATER_BUS.
    #[arg(long, value_name = "URL")]
    pub(crate) bus: Option<String>,
}

#[derive(Debug, Args)]
#[group(id = "publishing")]
pub(crate) struct Publish {
    /// The event type, for example buddy.feedback.submitted.
    pub(crate) event_type: String,
    /// The file; "-" is standard input.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) address: BusAddress,
}

#[derive(Debug, Args)]
#[group(id = "tailing")]
pub(crate) struct Tail {
    /// An event type, or a pattern: * is one token, > all that follow. Dead letters are under dead_letter.
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) address: BusAddress,
    /// Where to begin.
    #[arg(long, value_enum, default_value_t = Start::End)]
    pub(crate) from: Start,
    /// How many events to show before it ends.
    #[arg(short = 'n', long)]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Start {
    /// With the oldest event that is there.
    Start,
    /// With the next one.
    End,
}

#[derive(Debug, Args)]
#[group(id = "data_folder")]
pub(crate) struct Data {
    /// Where inbox and store are.
    #[arg(long, value_name = "FOLDER", default_value = ".headwater/data")]
    pub(crate) data: PathBuf,
}

/// Where a pipeline keeps what it needs to go on after a stop or a crash.
#[derive(Debug, Args)]
#[group(id = "pipeline_state")]
pub(crate) struct State {
    /// A folder, or s3://BUCKET/PREFIX: checkpoints are kept there, and the next run goes on from the last one. Without
    /// it a run begins at the beginning.
    #[arg(long = "state", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Go on from this checkpoint or savepoint instead of the last checkpoint; what came after it is read again.
    #[arg(long, value_name = "NAME", requires = "url")]
    pub(crate) from: Option<String>,
    /// Leave a savepoint of this name when the run is stopped or its input ends.
    #[arg(long, value_name = "NAME", requires = "url")]
    pub(crate) savepoint: Option<String>,
    /// The time between two checkpoints, which is how late results are seen: 200ms, 1s, 5m.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(crate) checkpoint_interval: Duration,
    /// How many checkpoints are kept; savepoints are kept until they are deleted.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) retain: u16,
    /// Where sinks keep what is prepared and not committed; by default in the state folder. It has to be there again
    /// after a crash.
    #[arg(long, value_name = "FOLDER", requires = "url")]
    pub(crate) spool: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Checkpoints {
    /// List checkpoints, oldest first, and savepoints.
    List {
        #[command(flatten)]
        state: StateAt,
    },
    /// Show where the sources stood, what the operators kept and what the sinks had prepared.
    Show {
        /// The number of an epoch, the name of a savepoint, or "latest".
        #[arg(default_value = "latest")]
        name: String,
        #[command(flatten)]
        state: StateAt,
    },
    /// Read every byte and report every fault.
    Verify {
        /// The number of an epoch, the name of a savepoint, or "latest"; without it, all.
        name: Option<String>,
        #[command(flatten)]
        state: StateAt,
    },
    /// Delete a checkpoint or a savepoint, and what only it needs.
    Delete {
        /// The number of an epoch, the name of a savepoint, or "latest".
        name: String,
        /// Delete the only checkpoint too: the pipeline then begins anew.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        state: StateAt,
    },
}

#[derive(Debug, Args)]
#[group(id = "stored_state")]
pub(crate) struct StateAt {
    /// Where the state is: a folder, or s3://BUCKET/PREFIX.
    #[arg(long, value_name = "URL")]
    pub(crate) state: String,
    /// Whose state, where there is that of several pipelines.
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Contracts {
    /// List the event types.
    List,
    /// Show the JSON Schema of an event type and the columns it becomes.
    Show {
        /// The event type, for example buddy.feedback.submitted.
        event_type: String,
    },
    /// Check a file of events, one JSON object a line.
    Check {
        /// The file; "-" is standard input.
        file: PathBuf,
    },
    /// Write the catalogue of event types (Markdown) to standard output.
    Catalogue,
    /// Write the AsyncAPI document (JSON) to standard output.
    Asyncapi,
}

#[derive(Debug, Args)]
#[group(id = "importing")]
pub(crate) struct Import {
    /// What the files are: kintell, mentorship, language, buddy-matches, buddy-events, buddy-checkins, buddy-feedback,
    /// course-completions, credentials, sessions; or auto.
    pub(crate) kind: String,
    /// The files.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The company: a uuid, or a name from which one is derived.
    #[arg(long)]
    pub(crate) company: String,
    /// The scale of the ratings in the files: 1-5 or 0-1. Without it the kind's own.
    #[arg(long, value_name = "SCALE")]
    pub(crate) rating_scale: Option<String>,
    /// A folder with column mappings (KIND.toml) that replace the built-in ones.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) mappings: Option<PathBuf>,
    /// Where to write refused rows; without it FILE.errors.csv in the data folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) errors: Option<PathBuf>,
    /// Publish the events to an event bus (nats://host:4222 or kafka://host:9092) instead of the inbox.
    #[arg(long, value_name = "URL")]
    pub(crate) bus: Option<String>,
    #[command(flatten)]
    pub(crate) data: Data,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// A programme for buddy matching, language and mentorship sessions, courses and volunteering.
    Impact {
        #[command(flatten)]
        size: Size,
        #[command(flatten)]
        rates: Rates,
        /// The folder to write to, laid out as an inbox: TOPIC/00000001.jsonl.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// The auction events of the Nexmark benchmark: persons, auctions and bids.
    Nexmark(Nexmark),
}

#[derive(Debug, Args)]
#[group(id = "nexmark_events")]
pub(crate) struct Nexmark {
    /// How many events, of all three kinds together: of 50, one is a person, three are auctions, 46 are bids.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) events: u64,
    /// The seed: the same one makes the same events.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u32,
    /// How many events fall into a second of event time.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: u32,
    /// How the rows are written.
    #[arg(long, value_enum, default_value_t = FileFormat::Json)]
    pub(crate) format: FileFormat,
    /// One file with all events instead of one for each kind.
    #[arg(long)]
    pub(crate) one_file: bool,
    /// The folder to write to: person, auction and bid, or events, with .jsonl or .parquet.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FileFormat {
    /// JSON lines.
    Json,
    /// Parquet.
    Parquet,
}

#[derive(Debug, Clone, Copy, Args)]
#[group(id = "size")]
pub(crate) struct Size {
    /// How many companies.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) companies: u32,
    /// How many months.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub(crate) months: u32,
    /// The seed: the same one makes the same data.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// How disorderly generated data is: shares of all events, from 0 to 1.
#[derive(Debug, Clone, Copy, Default, Args)]
#[group(id = "rates")]
pub(crate) struct Rates {
    /// The share of events whose line comes twice. [default: 0.02]
    #[arg(long, value_name = "SHARE")]
    pub(crate) duplicates: Option<f64>,
    /// The share of events that come days or weeks late. [default: 0.01]
    #[arg(long, value_name = "SHARE")]
    pub(crate) late: Option<f64>,
    /// The share of events that are corrected later. [default: 0.02]
    #[arg(long, value_name = "SHARE")]
    pub(crate) corrections: Option<f64>,
    /// The share of lines that are broken. [default: 0.005]
    #[arg(long, value_name = "SHARE")]
    pub(crate) bad: Option<f64>,
}

#[derive(Debug, Args)]
#[group(id = "serving")]
pub(crate) struct Serve {
    /// Where to listen. Other than loopback addresses need --api-keys.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787")]
    pub(crate) listen: SocketAddr,
    /// A file of API keys: NAME SECRET COMPANY[,COMPANY] a line, COMPANY a uuid or "*".
    #[arg(long, value_name = "FILE")]
    pub(crate) api_keys: Option<PathBuf>,
    /// Publish what is sent to the API to an event bus (nats://host:4222 or kafka://host:9092), and read all events
    /// from there.
    #[arg(long, value_name = "URL")]
    pub(crate) bus: Option<String>,
    /// How many subtasks each step may have.
    #[arg(short, long, default_value_t = 2, value_parser = parallelism)]
    pub(crate) parallelism: usize,
}

/// Key groups bound what more subtasks could do.
const PARALLELISM_MAX: usize = 256;

fn interval(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err("a whole number with a unit: 200ms, 1s, 5m".to_owned()),
    };
    let millis = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|millis| *millis > 0);
    millis.map(Duration::from_millis).ok_or_else(|| "a whole number greater than zero with a unit".to_owned())
}

fn parallelism(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=PARALLELISM_MAX).contains(&n) => Ok(n),
        _ => Err(format!("a whole number from 1 to {PARALLELISM_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
