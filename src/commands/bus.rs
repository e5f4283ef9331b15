//! `headwater publish` and `headwater tail`: the event bus from the command line.

use crate::cli::{BusAddress, Publish, Start, Tail};
use crate::output::{show, show_line};
use headwater_bus::{Bus, Event, Since, Stored, faults};
use headwater_core::{DeadLetter, Error, Reason, Result};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;

/// How many events are on their way together.
const BATCH_EVENTS: usize = 256;
/// The longest line that is read; what is longer is no event.
const LINE_BYTES_MAX: usize = headwater_contracts::RECORD_BYTES_MAX + 1;

/// Connects to the bus of a command.
pub(crate) async fn connect(address: &BusAddress) -> Result<Bus> {
    let url = address.bus.clone().or_else(|| std::env::var("HEADWATER_BUS").ok()).ok_or_else(|| {
        Error::invalid("the event bus is not named")
            .with_help("add --bus URL, or set the environment variable HEADWATER_BUS")
    })?;
    Bus::connect(&url).await
}

/// Publishes the events of a file, one a line. It fails when a line was rejected; the others are published.
pub(crate) async fn publish(command: &Publish) -> Result<ExitCode> {
    let contract = headwater_contracts::find(&command.event_type)?;
    let mut reader = open(&command.file)?;
    let bus = connect(&command.address).await?;
    let source = command.file.display().to_string();
    let (mut number, mut counts) = (0_u64, Counts::default());
    let mut events = Vec::with_capacity(BATCH_EVENTS);
    loop {
        let line = next_line(reader.as_mut()).map_err(|e| Error::io(format!("cannot read '{source}'"), e))?;
        number += 1;
        let ended = line.is_none();
        if let Some(line) = line.filter(|line| !line.trim_ascii().is_empty()) {
            match Event::parse(&line, &source, &number.to_string()) {
                Ok(event) if event.event_type() == contract.event_type() => events.push(event),
                Ok(event) => {
                    counts.rejected += 1;
                    let (found, wanted) = (event.event_type(), contract.event_type());
                    show_line(format_args!(
                        "line {number}: {}: the event is a {found}, not a {wanted}",
                        Reason::UnknownType
                    ));
                }
                Err(first) => {
                    counts.rejected += 1;
                    let all = faults(&line, &source, &number.to_string());
                    let all = if all.is_empty() { vec![*first] } else { all };
                    all.iter().for_each(|fault| show_line(shown(number, fault)));
                }
            }
        }
        if ended || events.len() >= BATCH_EVENTS {
            for stored in bus.publish_all(&events).await? {
                match stored {
                    Stored::New => counts.accepted += 1,
                    Stored::Before => counts.known += 1,
                }
            }
            events.clear();
        }
        if ended {
            break;
        }
    }
    let Counts { accepted, known, rejected } = counts;
    show_line(format_args!(
        "{} events = {accepted} accepted + {known} published before + {rejected} rejected",
        accepted + known + rejected
    ));
    Ok(if rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Counts {
    accepted: u64,
    known: u64,
    rejected: u64,
}

fn shown(number: u64, fault: &DeadLetter) -> String {
    let path = if fault.path.is_empty() { "line" } else { &fault.path };
    format!("line {number}: {} ({path}): {}", fault.reason, fault.message)
}

fn open(file: &Path) -> Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened = File::open(file).map_err(|e| Error::io(format!("cannot read '{}'", file.display()), e))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// Reads a line, of which no more than the longest event is kept.
fn next_line(reader: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let (mut line, mut has_any) = (Vec::new(), false);
    loop {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            return Ok(has_any.then_some(line));
        }
        has_any = true;
        let (taken, ended) = match block.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (block.len(), false),
        };
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(&block[..(taken - usize::from(ended)).min(room)]);
        reader.consume(taken);
        if ended {
            return Ok(Some(line));
        }
    }
}

/// Prints what is published to a subject, a line each, until enough was seen or Ctrl-C.
pub(crate) async fn tail(command: &Tail) -> Result<()> {
    let bus = connect(&command.address).await?;
    let since = match command.from {
        Start::Start => Since::Start,
        Start::End => Since::End,
    };
    let mut tail = bus.tail(&command.subject, since).await?;
    let follow = async {
        let mut n_left = command.count;
        while n_left != Some(0) {
            let message = tail.next().await?;
            // What breaks lines is JSON that somebody wrote over several.
            let text = String::from_utf8_lossy(&message);
            show(format_args!("{}\n", text.trim().replace(['\n', '\r'], " ")));
            n_left = n_left.map(|n| n - 1);
        }
        Ok::<(), Error>(())
    };
    tokio::select! {
        result = follow => result,
        result = tokio::signal::ctrl_c() => result.map_err(|e| Error::io("cannot wait for Ctrl-C", e)),
    }
}
