//! `headwater generate`: plausible data as files.

use crate::cli::{FileFormat, Generate, Nexmark, Rates, Size};
use crate::output::show;
use crate::wiring::SqlPlanner;
use headwater_connectors::generator::impact::{ImpactGenerator, ImpactOptions, Stated};
use headwater_connectors::inbox::Inbox;
use headwater_core::{Error, Result, SystemClock};
use headwater_engine::{EngineOptions, start};
use headwater_pipelines::Planner;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How many lines are appended at once: each append ends with an fsync.
const LINES_PER_APPEND: usize = 20_000;
/// Longer than any run: a single file is committed once, at the end. A Parquet file would be rewritten each time.
const ONE_EPOCH: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Generates as asked and says what was made.
pub(crate) async fn generate(command: &Generate) -> Result<()> {
    match command {
        Generate::Impact { size, rates, out } => {
            refuse_full(out)?;
            let generator = generator(*size, *rates)?;
            let stated = into_inbox(generator, &Inbox::open(out)?)?;
            show(shown(&stated, out));
        }
        Generate::Nexmark(command) => {
            refuse_full(&command.out)?;
            show(nexmark(command).await?);
        }
    }
    Ok(())
}

fn refuse_full(out: &Path) -> Result<()> {
    if std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::conflict(format!("the folder '{}' is not empty", out.display()))
            .with_help("name a new folder: generated events are not to be mixed with others by accident"));
    }
    Ok(())
}

/// Writes the events of Nexmark: a pipeline with the connector as its source. One subtask, so that rows are in order.
async fn nexmark(command: &Nexmark) -> Result<String> {
    let Nexmark { events, seed, rate, format, one_file, out } = command;
    std::fs::create_dir_all(out).map_err(|e| Error::io(format!("cannot make the folder '{}'", out.display()), e))?;
    let (format, extension) = match format {
        FileFormat::Json => ("json", "jsonl"),
        FileFormat::Parquet => ("parquet", "parquet"),
    };
    let tables: &[&str] = if *one_file { &["events"] } else { &["person", "auction", "bid"] };
    let mut sql = String::new();
    for table in tables {
        sql.push_str(&format!(
            "CREATE TABLE {table} WITH (connector = 'nexmark', table = '{table}', events = '{events}', seed = '{seed}', rate = '{rate}');
             CREATE TABLE {table}_out WITH (connector = 'single_file', path = '{table}.{extension}', format = '{format}');
             INSERT INTO {table}_out SELECT * FROM {table};\n"
        ));
    }
    let graph = SqlPlanner::new(out).plan("nexmark", &sql)?;
    let mut options = EngineOptions::new("nexmark", Arc::new(SystemClock));
    options.flush_interval = ONE_EPOCH;
    let report = start(graph, options)?.join().await?;
    let rows = report.totals().sink_rows;
    Ok(format!("{rows} rows in '{}': {} as {extension}\n", out.display(), tables.join(", ")))
}

/// Prepares a programme; what is asked for is checked here, before anything is written.
pub(crate) fn generator(size: Size, rates: Rates) -> Result<ImpactGenerator> {
    let usual = ImpactOptions::default();
    ImpactGenerator::new(ImpactOptions {
        companies: size.companies,
        months: size.months,
        seed: size.seed,
        duplicate_rate: rates.duplicates.unwrap_or(usual.duplicate_rate),
        late_rate: rates.late.unwrap_or(usual.late_rate),
        correction_rate: rates.corrections.unwrap_or(usual.correction_rate),
        bad_rate: rates.bad.unwrap_or(usual.bad_rate),
        start: usual.start,
    })
}

/// Generates a programme into an inbox, with a progress bar on a terminal.
pub(crate) fn into_inbox(mut generator: ImpactGenerator, inbox: &Inbox) -> Result<Stated> {
    let bar = ProgressBar::new(u64::from(generator.progress().1));
    let style = ProgressStyle::with_template("generating {wide_bar} {pos} of {len} months");
    bar.set_style(style.map_err(|e| Error::internal(format!("the progress bar's template: {e}")))?);
    let mut waiting: BTreeMap<&'static str, Vec<Vec<u8>>> = BTreeMap::new();
    let mut n_waiting = 0;
    while let Some(line) = generator.next() {
        waiting.entry(line.topic).or_default().push(line.bytes);
        n_waiting += 1;
        if n_waiting == LINES_PER_APPEND {
            append(inbox, &mut waiting)?;
            n_waiting = 0;
            bar.set_position(u64::from(generator.progress().0));
        }
    }
    append(inbox, &mut waiting)?;
    bar.finish_and_clear();
    Ok(generator.stated().clone())
}

fn append(inbox: &Inbox, waiting: &mut BTreeMap<&'static str, Vec<Vec<u8>>>) -> Result<()> {
    for (topic, lines) in std::mem::take(waiting) {
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        inbox.append(topic, &lines)?;
    }
    Ok(())
}

fn shown(stated: &Stated, out: &Path) -> String {
    let mut text = format!(
        "{} lines in '{}': {} events + {} duplicates + {} corrections + {} broken\n",
        stated.lines,
        out.display(),
        stated.events,
        stated.duplicates,
        stated.corrections,
        stated.n_bad()
    );
    for (topic, n) in &stated.events_by_topic {
        text.push_str(&format!("  {topic}: {n} events\n"));
    }
    for (reason, n) in &stated.bad {
        text.push_str(&format!("  broken, to be refused as {reason}: {n}\n"));
    }
    text
}
