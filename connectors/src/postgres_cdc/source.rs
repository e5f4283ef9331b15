//! The copy and then the changes. A request to the server is kept while it is on its way, so that dropping a poll loses
//! nothing. State: the connection, the place, and the events that were fetched and not returned: a piece of the copy, or
//! the transactions of one look at the slot.

use super::CdcSpec;
use super::pgoutput::{Decoder, Lsn};
use super::place::{Copied, Place};
use super::rows::{Event, Texts};
use super::session::Session;
use async_trait::async_trait;
use futures::future::BoxFuture;
use headwater_core::{Batch, Error, Polled, Position, Result, Source, SourceBatch};
use std::collections::VecDeque;

/// The one partition.
const PARTITION: &str = "log";
/// How many messages are asked for at once at least: a look at the slot begins where the last checkpoint was.
const MESSAGES_MIN: usize = 4096;

/// How far the source is.
enum Phase {
    /// Nothing has been read.
    Start,
    /// The table is being read; changes will be read from the place on.
    Copying { place: Place, n_rows: u64, has_all: bool },
    /// Changes are read; the place is after the last commit that was returned whole.
    Following { place: Place },
}

/// What the server answered.
enum Answer {
    Connected,
    Begun { start: Lsn, copied: Copied },
    Rows { rows: Vec<Texts>, has_all: bool },
    Messages { messages: Vec<Vec<u8>>, flushed: Lsn, n_asked: usize },
}

type Step = BoxFuture<'static, Result<(Session, Answer)>>;

/// The source of the one subtask that reads.
pub(super) struct CdcSource {
    spec: CdcSpec,
    slot: String,
    /// The table, by its schema and its name.
    table: (String, String),
    /// Whether this subtask is the one that reads.
    mine: bool,
    session: Option<Session>,
    /// The request that is on its way.
    pending: Option<Step>,
    phase: Phase,
    events: VecDeque<Event>,
    /// For each transaction among the events, the number of its events that are left and the place after it.
    commits: VecDeque<(usize, Lsn)>,
    /// Whether some of the first transaction's events were returned.
    is_within: bool,
    /// Whether the last look at the slot found all there is.
    is_even: bool,
    /// How many messages stood before the place at the last look.
    n_before: usize,
    acked: Lsn,
}

impl CdcSource {
    pub(super) fn new(spec: CdcSpec, slot: String, session: Session, mine: bool) -> Self {
        Self {
            spec,
            slot,
            table: session.table.clone(),
            mine,
            session: Some(session),
            pending: None,
            phase: Phase::Start,
            events: VecDeque::new(),
            commits: VecDeque::new(),
            is_within: false,
            is_even: false,
            n_before: 0,
            acked: Lsn(0),
        }
    }

    /// Begins the next request.
    fn step(&mut self, rows_max: usize) -> Step {
        let (spec, slot) = (self.spec.clone(), self.slot.clone());
        let session = self.session.take().filter(|session| !session.is_closed());
        let n_messages = self.n_before.saturating_add(rows_max.max(MESSAGES_MIN));
        let is_copying = matches!(self.phase, Phase::Copying { .. });
        let is_start = matches!(self.phase, Phase::Start);
        Box::pin(async move {
            let Some(session) = session else {
                if is_copying {
                    return Err(Error::unavailable("the connection was lost"));
                }
                return Ok((Session::open(&spec).await?, Answer::Connected));
            };
            if is_start {
                let start = session.set_up(&spec, &slot).await?;
                let copied = session.begin_copy(&spec).await?;
                return Ok((session, Answer::Begun { start, copied }));
            }
            if is_copying {
                let rows = session.copy(&spec, rows_max).await?;
                let has_all = rows.len() < rows_max;
                return Ok((session, Answer::Rows { rows, has_all }));
            }
            let (messages, flushed) = session.peek(&spec, &slot, n_messages).await?;
            Ok((session, Answer::Messages { messages, flushed, n_asked: n_messages }))
        })
    }

    /// Waits for the request that is on its way and takes its answer in.
    async fn settle(&mut self) -> Result<()> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        let answer = pending.await;
        self.pending = None;
        let (session, answer) = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(self.failed(error)),
        };
        self.session = Some(session);
        self.take(answer)
    }

    /// A copy that broke off cannot be gone on with, and its rows were returned already.
    fn failed(&mut self, error: Error) -> Error {
        match &self.phase {
            Phase::Copying { n_rows: 0, .. } => {
                self.phase = Phase::Start;
                error
            }
            Phase::Copying { n_rows, .. } => {
                let table = &self.spec.table;
                let message = format!("the copy of '{table}' broke off after {n_rows} rows: {}", error.message());
                Error::data(message).with_help("start the pipeline again: it copies the table from the beginning")
            }
            Phase::Start | Phase::Following { .. } => error,
        }
    }

    fn take(&mut self, answer: Answer) -> Result<()> {
        match (answer, &mut self.phase) {
            (Answer::Begun { start, copied }, phase) => {
                let place = Place { lsn: start, copied: Some(copied) };
                *phase = Phase::Copying { place, n_rows: 0, has_all: false };
            }
            (Answer::Rows { rows, has_all: ended }, Phase::Copying { n_rows, has_all, .. }) => {
                for (number, row) in rows.into_iter().enumerate() {
                    let position = format!("copy:{}", *n_rows + number as u64);
                    self.events.push_back(Event { op: "r", before: None, after: Some(row), position });
                }
                *n_rows += self.events.len() as u64;
                *has_all = ended;
            }
            (Answer::Messages { messages, flushed, n_asked }, Phase::Following { place }) => {
                let n_messages = messages.len();
                let mut decoder = Decoder::default();
                self.n_before = 0;
                for message in &messages {
                    let Some(transaction) = decoder.message(message)? else { continue };
                    if place.is_past(transaction.xid, transaction.end) {
                        self.n_before += transaction.n_messages;
                        continue;
                    }
                    let n_events = self.events.len();
                    for (number, (relation, change)) in transaction.changes.into_iter().enumerate() {
                        let known = decoder.relation(relation);
                        let relation = known.ok_or_else(|| Error::internal("a change of an unknown table"))?;
                        if self.table == (relation.schema.clone(), relation.name.clone()) {
                            self.events.push_back(self.spec.event(relation, change, transaction.end, number)?);
                        }
                    }
                    self.commits.push_back((self.events.len() - n_events, transaction.end));
                }
                self.is_even = n_messages < n_asked;
                if self.commits.is_empty() && self.is_even {
                    // Nothing of ours: the log up to here need not be kept for us.
                    place.advance(flushed);
                }
                if self.commits.is_empty() && !self.is_even {
                    self.n_before = self.n_before.max(n_messages);
                }
                self.pass_empty();
            }
            // Only the connection was made anew.
            (Answer::Connected | Answer::Rows { .. } | Answer::Messages { .. }, _) => {}
        }
        Ok(())
    }

    /// Moves past transactions of which nothing is left.
    fn pass_empty(&mut self) {
        let Phase::Following { place } = &mut self.phase else { return };
        while let Some((0, end)) = self.commits.front().copied() {
            self.commits.pop_front();
            self.is_within = false;
            place.advance(end);
        }
    }

    /// Returns the next events that are there.
    fn next(&mut self, rows_max: usize) -> Result<Option<Polled>> {
        let n_events = self.events.len().min(rows_max);
        if n_events == 0 {
            return Ok(None);
        }
        let (rows, dead_letters) = self.spec.batch(&self.events, n_events)?;
        self.events.drain(..n_events);
        let mut n_left = n_events;
        while let Some((n_of_it, _)) = self.commits.front_mut().filter(|_| n_left > 0) {
            let n_taken = n_left.min(*n_of_it);
            *n_of_it -= n_taken;
            n_left -= n_taken;
            self.is_within = *n_of_it > 0;
            if !self.is_within {
                self.pass_empty();
            }
        }
        Ok(Some(Polled::Batch(SourceBatch { partition: 0, batch: Batch::append_only(rows), dead_letters })))
    }

    async fn read(&mut self, rows_max: usize) -> Result<Polled> {
        if !self.mine {
            return Ok(Polled::End);
        }
        loop {
            if let Some(polled) = self.next(rows_max)? {
                return Ok(polled);
            }
            if let Phase::Copying { place, has_all: true, .. } = &self.phase {
                self.phase = Phase::Following { place: place.clone() };
            }
            if self.pending.is_none() {
                self.is_even = false;
                self.pending = Some(self.step(rows_max));
            }
            self.settle().await?;
            if self.events.is_empty() && self.is_even {
                return Ok(Polled::Idle);
            }
        }
    }

    fn at(&self) -> impl Fn(Error) -> Error + use<> {
        let declared = self.spec.declared.clone();
        move |error| error.at(format!("table {declared}"))
    }
}

#[async_trait]
impl Source for CdcSource {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        let at = self.at();
        self.read(rows_max.max(1)).await.map_err(at)
    }

    fn position(&self) -> Position {
        match &self.phase {
            Phase::Following { place } => Position([(PARTITION.to_owned(), place.to_string())].into()),
            Phase::Start | Phase::Copying { .. } => Position::default(),
        }
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        let at = self.at();
        (self.pending, self.phase) = (None, Phase::Start);
        self.events.clear();
        self.commits.clear();
        (self.is_within, self.n_before, self.acked) = (false, 0, Lsn(0));
        let Some(text) = position.0.get(PARTITION).filter(|_| self.mine) else { return Ok(()) };
        let place: Place = text.parse().map_err(&at)?;
        let session = match self.session.take().filter(|session| !session.is_closed()) {
            Some(session) => session,
            None => Session::open(&self.spec).await.map_err(&at)?,
        };
        session.check_place(&self.spec, &self.slot, &place).await.map_err(&at)?;
        self.session = Some(session);
        self.phase = Phase::Following { place };
        Ok(())
    }

    fn holds_barrier(&self) -> bool {
        self.is_within || matches!(self.phase, Phase::Copying { .. })
    }

    async fn ack(&mut self, position: &Position) -> Result<()> {
        let at = self.at();
        let Some(text) = position.0.get(PARTITION).filter(|_| self.mine) else { return Ok(()) };
        let place: Place = text.parse().map_err(&at)?;
        if place.lsn <= self.acked {
            return Ok(());
        }
        // The slot serves one at a time.
        self.settle().await.map_err(&at)?;
        let session = match self.session.take().filter(|session| !session.is_closed()) {
            Some(session) => session,
            None => Session::open(&self.spec).await.map_err(&at)?,
        };
        session.advance(&self.spec, &self.slot, place.lsn).await.map_err(&at)?;
        self.session = Some(session);
        self.acked = place.lsn;
        Ok(())
    }
}
