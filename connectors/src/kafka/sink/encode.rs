//! The net change of an epoch becomes messages. Pure.

use super::{Format, KafkaSinkSpec, KeyFormat};
use crate::formats::payload;
use crate::formats::write::{JsonRows, NetChange};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use headwater_core::{Batch, DeadLetter, Epoch, Error, Reason, Result};

/// Stands for the length of what is not there.
const ABSENT: u32 = u32::MAX;

/// What a message holds.
type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Messages, end to end: for each the length and the bytes of its key, and of its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Messages {
    pub(super) bytes: Vec<u8>,
    pub(super) n_messages: u64,
}

impl Messages {
    fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<()> {
        for part in [key, value] {
            let length = part.map_or(Ok(ABSENT), |part| u32::try_from(part.len()));
            let length = length.map_err(|_| Error::internal("a message of more than 4 GiB"))?;
            self.bytes.extend_from_slice(&length.to_le_bytes());
            self.bytes.extend_from_slice(part.unwrap_or_default());
        }
        self.n_messages += 1;
        Ok(())
    }

    /// Returns the key and the value of each message.
    pub(super) fn iter(&self) -> impl Iterator<Item = Result<KeyAndValue<'_>>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let message = part(&mut rest).and_then(|key| Some((key, part(&mut rest)?)));
            if message.is_none() {
                rest = &[];
            }
            Some(message.ok_or_else(|| Error::data("the spool ends in the middle of a message")))
        })
    }
}

/// Cuts the next part off.
fn part<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length);
    if length == ABSENT {
        *rest = after;
        return Some(None);
    }
    let (bytes, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(Some(bytes))
}

/// Writes the messages of an epoch; returns them and what is too long to be one.
pub(super) fn encode(spec: &KafkaSinkSpec, batches: &[Batch], epoch: Epoch) -> Result<(Messages, Vec<DeadLetter>)> {
    let (mut messages, mut rejected) = (Messages::default(), Vec::new());
    let Some(net) = NetChange::of(batches, &spec.primary_key)? else { return Ok((messages, rejected)) };
    let keys = if spec.key.is_empty() { None } else { Some(keys(spec, &net)?) };
    let is_json = matches!(spec.format, Format::Json | Format::DebeziumJson);
    let rows = if is_json { Some(JsonRows::new(&net.batch.rows)?) } else { None };
    let records = match &spec.avro {
        Some(avro) => avro.writer.write(&net.batch.rows)?,
        None => Vec::new(),
    };
    let mut value = Vec::new();
    for (number, step) in net.steps.iter().enumerate() {
        let row = |row: Option<usize>| row.and_then(|row| Some(rows.as_ref()?.row(row)));
        let written: Option<&[u8]> = match spec.format {
            Format::Json => row(step.after),
            Format::Avro => step.after.and_then(|at| records.get(at)).map(Vec::as_slice),
            Format::Raw => step.after.and_then(|at| raw(&net.batch.rows, at)),
            Format::DebeziumJson => {
                let op = match (step.before, step.after) {
                    (None, _) => "c",
                    (Some(_), None) => "d",
                    (Some(_), Some(_)) => "u",
                };
                value.clear();
                value.extend_from_slice(b"{\"before\":");
                value.extend_from_slice(row(step.before).unwrap_or(b"null"));
                value.extend_from_slice(b",\"after\":");
                value.extend_from_slice(row(step.after).unwrap_or(b"null"));
                value.extend_from_slice(format!(",\"op\":\"{op}\"}}").as_bytes());
                Some(value.as_slice())
            }
        };
        let key = keys.as_ref().and_then(|keys| keys[number].as_deref());
        let n_bytes = key.map_or(0, <[u8]>::len) + written.map_or(0, <[u8]>::len);
        if n_bytes <= spec.message_bytes_max {
            messages.push(key, written)?;
            continue;
        }
        let shown = written.unwrap_or_default();
        rejected.push(DeadLetter {
            reason: Reason::Rejected,
            message: format!("a message of {n_bytes} bytes, {} are allowed", spec.message_bytes_max),
            path: String::new(),
            source: spec.table.clone(),
            position: format!("epoch {}, message {number}", epoch.0),
            payload: payload(shown, shown.len() as u64),
        });
    }
    Ok((messages, rejected))
}

/// Returns the key of the message of each step.
fn keys(spec: &KafkaSinkSpec, net: &NetChange) -> Result<Vec<Option<Vec<u8>>>> {
    let columns = net.keys(&spec.key)?;
    if spec.key_format == KeyFormat::Json {
        let json = JsonRows::new(&columns)?;
        return Ok((0..columns.num_rows()).map(|row| Some(json.row(row).to_vec())).collect());
    }
    let column = columns.column(0);
    if matches!(column.data_type(), DataType::Binary) {
        return Ok((0..column.len()).map(|row| raw(&columns, row).map(<[u8]>::to_vec)).collect());
    }
    let options = FormatOptions::default();
    let shown = ArrayFormatter::try_new(column.as_ref(), &options)?;
    Ok((0..column.len()).map(|row| column.is_valid(row).then(|| shown.value(row).to_string().into_bytes())).collect())
}

/// Returns the bytes of a row of one column.
fn raw(rows: &RecordBatch, row: usize) -> Option<&[u8]> {
    let column = rows.column(0);
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string_opt::<i32>().map(|texts| texts.value(row).as_bytes()),
        _ => column.as_binary_opt::<i32>().map(|bytes| bytes.value(row)),
    }
}
