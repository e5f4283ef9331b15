//! `headwater demo`: sample files and a generated year, from nothing to metrics and an API.

use crate::cli::{Rates, Serve, Size};
use crate::commands::generate::{generator, into_inbox};
use crate::commands::import::shown;
use crate::commands::query::answer;
use crate::commands::run::summary;
use crate::commands::serve::{Listener, Serving};
use crate::data_folder::{DataFolder, write_whole};
use crate::imports::{ImportService, Told};
use crate::output::{show, show_line};
use crate::wiring::Log;
use headwater_connectors::inbox::Inbox;
use headwater_core::{Error, Result, SystemClock};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

macro_rules! sample {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../tests/data/", $name)))
    };
}

/// The sample files as their users exported them.
const SAMPLES: &[(&str, &[u8])] = &[
    sample!("kintell-sessions.csv"),
    sample!("buddy-matches.csv"),
    sample!("course-completions.csv"),
    sample!("credentials.csv"),
    sample!("sample-valid-sessions.csv"),
    sample!("sample-invalid-sessions.csv"),
];

/// Whose files the samples are.
const SAMPLE_COMPANY: &str = "Sample Company";

/// The table that is shown at the end.
const METRICS: &str = "\
SELECT coalesce(c.name, m.company_id) AS company, substr(m.period_start, 1, 4) AS year,
       m.participants_count AS participants, m.volunteers_count AS volunteers, m.sessions_count AS sessions,
       m.hours, m.avg_integration_score AS integration, m.social_value, m.investment, m.sroi_ratio AS sroi,
       m.vis_score AS vis
FROM metrics_company_period m LEFT JOIN companies c ON c.company_id = m.company_id
WHERE m.period_kind = 'year' ORDER BY year DESC, company LIMIT 30";

/// Runs the demo.
pub(crate) async fn demo(size: Size, serve: &Serve, data: &Path, once: bool) -> Result<()> {
    if serve.bus.is_some() {
        return Err(
            Error::invalid("the demo has its own events and no bus").with_help("use 'headwater serve --bus URL'")
        );
    }
    let started = Instant::now();
    let listener = if once { None } else { Some(Listener::bind(serve).await?) };
    let data = DataFolder::open(data)?;
    let inbox = Arc::new(Inbox::open(data.inbox())?);
    import_samples(&data, inbox.clone())?;
    generate_once(size, &data, &inbox)?;
    let serving = Serving::start(&data, inbox, serve.parallelism)?;
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} computing {elapsed}");
    bar.set_style(style.map_err(|e| Error::internal(format!("the progress bar's template: {e}")))?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let caught_up = serving.supervisor.caught_up().await;
    bar.finish_and_clear();
    caught_up?;
    if let Some(report) = serving.supervisor.status().report {
        show_line(format_args!("{}\n", summary(&report)));
    }
    show_line(answer(&data.store(), METRICS)?);
    show_line(format_args!("from nothing to metrics in {:.1} s\n", started.elapsed().as_secs_f64()));
    show_line(suggestions(&data, listener.as_ref())?);
    match listener {
        Some(listener) => serving.until_ctrl_c(listener, &data).await,
        None => serving.supervisor.stop().await.map(|_| ()),
    }
}

fn import_samples(data: &DataFolder, inbox: Arc<Inbox>) -> Result<()> {
    let service = ImportService::open(data, Log::Inbox(inbox), Arc::new(SystemClock), None)?;
    for (name, content) in SAMPLES {
        let told = Told {
            kind: "auto".to_owned(),
            file_name: (*name).to_owned(),
            company: SAMPLE_COMPANY.to_owned(),
            ..Told::default()
        };
        let (kind, summary) = service.import(&told, Cursor::new(*content), None)?;
        show(shown(name, kind, &summary, None));
    }
    Ok(())
}

/// Generates the year the first time. A generation that was interrupted is repeated: its lines are the same, so those
/// that are there already are dropped as duplicates.
fn generate_once(size: Size, data: &DataFolder, inbox: &Inbox) -> Result<()> {
    let Size { companies, months, seed } = size;
    let done = data.root().join(format!("generated-{companies}-{months}-{seed}"));
    if done.exists() {
        show_line(format_args!("generated before: {companies} companies, {months} months, seed {seed}"));
        return Ok(());
    }
    let stated = into_inbox(generator(size, Rates::default())?, inbox)?;
    show_line(format_args!(
        "generated {} lines: {} events, {} duplicates, {} corrections, {} broken",
        stated.lines,
        stated.events,
        stated.duplicates,
        stated.corrections,
        stated.n_bad()
    ));
    write_whole(&done, b"")
}

fn suggestions(data: &DataFolder, listener: Option<&Listener>) -> Result<String> {
    let store = data.root().display();
    let some_metric = "SELECT metric_id FROM metric_values WHERE metric = 'sroi_ratio' AND period_kind = 'year' AND value > 1 \
                       ORDER BY period_start DESC, metric_id LIMIT 1";
    let connection = rusqlite::Connection::open(data.store())
        .map_err(|error| Error::internal(format!("the store '{}': {error}", data.store().display())))?;
    let metric: Option<String> = connection.query_row(some_metric, [], |row| row.get(0)).ok();
    let query =
        format!("  headwater query --data {store} \"SELECT label, snippet_text FROM evidence_snippets LIMIT 5\"\n");
    let Some(listener) = listener else { return Ok(format!("to try:\n{query}")) };
    let url = format!("http://{}", listener.address);
    let metric = metric.unwrap_or_else(|| "METRIC_ID".to_owned());
    Ok(format!(
        "to try, in another terminal:\n  curl {url}/v1/companies\n  curl {url}/v1/lineage/{metric}\n{query}\
         or open {url}/ in a browser; Ctrl-C ends the demo"
    ))
}
