//! `headwater serve`: the impact pipeline and its API, until Ctrl-C.

use crate::bus_log;
use crate::cli::Serve;
use crate::data_folder::DataFolder;
use crate::imports::{ApiImports, ImportService};
use crate::wiring::{Log, SqlPlanner};
use headwater_api::{ApiKey, ApiParts, ApiState, Auth, EventType, Limits, PipelineStatus, router};
use headwater_bus::Bus;
use headwater_connectors::inbox::Inbox;
use headwater_core::{Clock, Counter, Error, Result, SystemClock};
use headwater_engine::{EngineOptions, FirstCommit};
use headwater_pipelines::shipped::IMPACT;
use headwater_pipelines::{Definition, RestartPolicy, State, Supervisor, Watcher};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves until Ctrl-C.
pub(crate) async fn serve(command: &Serve, data: &Path) -> Result<()> {
    let listener = Listener::bind(command).await?;
    let data = DataFolder::open(data)?;
    let inbox = Arc::new(Inbox::open(data.inbox())?);
    let bus = match &command.bus {
        Some(url) => Some(Bus::connect(url).await?),
        None => None,
    };
    let serving = Serving { bus, ..Serving::start(&data, inbox, command.parallelism)? };
    // A server goes on when nobody reads what it prints.
    let _unread = writeln!(std::io::stdout(), "serving {} on http://{}/", data.root().display(), listener.address);
    serving.until_ctrl_c(listener, &data).await
}

/// A bound address and who may call it: refused before anything else is started.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    socket: TcpListener,
    auth: Auth,
}

impl Listener {
    pub(crate) async fn bind(command: &Serve) -> Result<Self> {
        let auth = match &command.api_keys {
            Some(file) => read_keys(file)?,
            None => Auth::default(),
        };
        auth.check_binding(&command.listen)?;
        let failed = |error| {
            Error::io(format!("cannot listen on {}", command.listen), error)
                .with_help("name another address with --listen, for example 127.0.0.1:0 for any free port")
        };
        let socket = TcpListener::bind(command.listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { address, socket, auth })
    }
}

/// Reads API keys: `NAME SECRET COMPANY[,COMPANY…]` a line, COMPANY a uuid or `*`; empty lines and `#` comments.
fn read_keys(file: &Path) -> Result<Auth> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io(format!("cannot read '{}'", file.display()), e))?;
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
        let place = |error: Error| error.at(format!("{}, line {number}", file.display()));
        let [name, secret, companies] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(place(Error::invalid("a key is a name, a secret and companies, separated by spaces")));
        };
        ApiKey::new(name, secret, companies.split(',')).map_err(place)
    });
    let keys = keys.collect::<Result<Vec<_>>>()?;
    if keys.is_empty() {
        return Err(Error::invalid(format!("'{}' holds no key", file.display())));
    }
    Ok(Auth::new(keys))
}

/// The impact pipeline at work over a data folder.
pub(crate) struct Serving {
    pub(crate) supervisor: Supervisor,
    inbox: Arc<Inbox>,
    /// Where events come from and go to, when it is not the inbox alone.
    bus: Option<Bus>,
}

impl Serving {
    /// Starts the pipeline.
    pub(crate) fn start(data: &DataFolder, inbox: Arc<Inbox>, parallelism: usize) -> Result<Self> {
        let (inbox_path, store, tables) = (data.inbox(), data.store(), data.tables());
        let sql = IMPACT.sql(&[
            ("inbox", &inbox_path.to_string_lossy()),
            ("store", &store.to_string_lossy()),
            ("tables", &tables.to_string_lossy()),
            ("mode", "tail"),
        ])?;
        let mut options = EngineOptions::new(IMPACT.name, Arc::new(SystemClock));
        options.parallelism = parallelism;
        options.first_commit = FirstCommit::WhenCaughtUp;
        options.dead_letters = Some(crate::wiring::dead_letters(&store)?);
        let planner = Arc::new(SqlPlanner::with_policy("", &data.policy()?)?);
        let definition = Definition { name: IMPACT.name.to_owned(), sql };
        let supervisor = Supervisor::start(definition, planner, options, RestartPolicy::default())?;
        Ok(Self { supervisor, inbox, bus: None })
    }

    /// Serves the API until Ctrl-C, then lets the pipeline commit what it has read.
    pub(crate) async fn until_ctrl_c(self, listener: Listener, data: &DataFolder) -> Result<()> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let log = self.bus.clone().map_or_else(|| Log::Inbox(self.inbox.clone()), Log::Bus);
        let imports = ImportService::open(data, log.clone(), clock.clone(), None)?;
        let state = ApiState::open(ApiParts {
            log: Arc::new(log),
            imports: Arc::new(ApiImports(Arc::new(imports))),
            status: Arc::new(ApiStatus(self.supervisor.watcher())),
            clock,
            event_types: EventType::from_contracts(),
            store_path: data.store(),
            journal_path: data.requests(),
            auth: listener.auth,
            limits: Limits::default(),
        })?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let server = headwater_api::serve(listener.socket, router(state), async move { stopped.cancelled().await });
        tokio::pin!(server);
        let announce = async {
            self.supervisor.caught_up().await?;
            // A server goes on when nobody reads what it prints.
            let _unread = writeln!(std::io::stdout(), "ready: the inbox is followed; Ctrl-C ends");
            std::future::pending::<Result<()>>().await
        };
        let receive = async {
            match &self.bus {
                Some(bus) => bus_log::into_inbox(bus, self.inbox.clone()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A failure first: it is why the process ends, whatever else happens at the same time.
            biased;
            result = &mut server => return result,
            result = self.supervisor.ended() => return result,
            result = announce => return result,
            result = receive => return result,
            result = tokio::signal::ctrl_c() => result.map_err(|e| Error::io("cannot wait for Ctrl-C", e))?,
        }
        eprintln!("stopping: what has been read is committed; what has not is in the inbox and read at the next start");
        stop.cancel();
        server.await?;
        self.supervisor.stop().await.map(|_| ())
    }
}

/// The supervisor as the API sees it.
struct ApiStatus(Watcher);

impl headwater_api::Status for ApiStatus {
    fn pipelines(&self) -> Vec<PipelineStatus> {
        let status = self.0.status();
        let report = status.report;
        let nodes = || report.iter().flat_map(|report| &report.nodes);
        let counters = nodes()
            .flat_map(|node| Counter::ALL.into_iter().map(|counter| (node.name.clone(), counter, node.count(counter))))
            .filter(|(_, _, n)| *n > 0)
            .collect();
        let keeping = nodes().filter(|node| node.state_peak.rows > 0);
        let states = keeping.map(|node| (node.name.clone(), node.state)).collect();
        vec![PipelineStatus {
            name: status.name,
            running: matches!(status.state, State::Running | State::CatchingUp),
            committed_epoch: report.as_ref().and_then(|report| report.last_epoch),
            counters,
            states,
        }]
    }

    fn ready(&self) -> Result<()> {
        let status = self.0.status();
        match status.state {
            State::Running | State::Ended => Ok(()),
            State::CatchingUp => Err(Error::unavailable(format!("pipeline {} is catching up", status.name))),
            State::Restarting | State::Failed => {
                let error = status.error.map(|error| error.to_string()).unwrap_or_default();
                Err(Error::unavailable(format!("pipeline {} failed: {error}", status.name)))
            }
        }
    }
}
