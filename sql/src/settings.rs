//! `SET name = 'value'`: how the statements after it are planned. It never reaches back. The state is one small struct,
//! copied with each statement.

use crate::near::help_for_name;
use crate::position::WithPlace;
use headwater_core::{Error, Result, Span};
use std::str::FromStr;

/// What a result shows, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EmitSetting {
    /// Windows once, when they close.
    Final,
    /// Early results, restated by retraction.
    Changes,
}

/// What happens to rows whose window is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LateSetting {
    /// They become dead letters.
    DeadLetter,
    /// They restate the window, for as long as `allowed_lateness` says.
    Update,
}

/// The settings that are in force for a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    pub(crate) emit: Option<EmitSetting>,
    /// Whether windows without rows have a result.
    pub(crate) emit_empty: bool,
    pub(crate) lateness: Lateness,
    pub(crate) time_zone: Option<String>,
}

/// What is said about late rows, and about what is kept, for a table or for statements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lateness {
    pub(crate) late: Option<LateSetting>,
    pub(crate) allowed_ns: Option<i64>,
    /// After which time without use state is forgotten.
    pub(crate) ttl_ns: Option<i64>,
}

const NAMES: [&str; 6] = ["allowed_lateness", "emit", "emit_empty", "late", "state_ttl", "time_zone"];

impl Settings {
    /// Takes one setting over.
    pub(crate) fn set(&mut self, name: &str, value: &str, name_span: Span, value_span: Span) -> Result<()> {
        match name {
            "emit" => {
                self.emit = Some(match value {
                    "final" => EmitSetting::Final,
                    "changes" => EmitSetting::Changes,
                    _ => return Err(not_one_of(name, value, "'final' or 'changes'").with_place(value_span)),
                });
            }
            "emit_empty" => {
                self.emit_empty = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(not_one_of(name, value, "'true' or 'false'").with_place(value_span)),
                };
            }
            "late" => self.lateness.late = Some(parse_late(value).map_err(|e| e.with_place(value_span))?),
            "allowed_lateness" => {
                self.lateness.allowed_ns = Some(parse_duration(value).map_err(|e| e.with_place(value_span))?);
            }
            "state_ttl" => self.lateness.ttl_ns = Some(parse_ttl(value).map_err(|e| e.with_place(value_span))?),
            "time_zone" | "timezone" => {
                let value = value.to_owned();
                chrono_tz::Tz::from_str(&value).map_err(|_| {
                    let error = Error::invalid(format!("there is no time zone '{value}'"));
                    error.with_help("use a name such as 'Europe/Oslo' or 'UTC'").with_place(value_span)
                })?;
                self.time_zone = Some(value);
            }
            _ => return Err(unknown(name, name_span)),
        }
        Ok(())
    }

    /// Forgets one setting.
    pub(crate) fn reset(&mut self, name: &str, name_span: Span) -> Result<()> {
        match name {
            "emit" => self.emit = None,
            "late" => self.lateness.late = None,
            "allowed_lateness" => self.lateness.allowed_ns = None,
            "time_zone" | "timezone" => self.time_zone = None,
            _ => return Err(unknown(name, name_span)),
        }
        Ok(())
    }
}

fn unknown(name: &str, span: Span) -> Error {
    let error = Error::invalid(format!("there is no setting '{name}'"));
    error.with_help(help_for_name("settings", name, &NAMES)).with_place(span)
}

/// Reads `late = '…'`.
pub(crate) fn parse_late(value: &str) -> Result<LateSetting> {
    match value {
        "dead_letter" => Ok(LateSetting::DeadLetter),
        "update" => Ok(LateSetting::Update),
        _ => Err(not_one_of("late", value, "'dead_letter' or 'update'")),
    }
}

fn not_one_of(name: &str, value: &str, choices: &str) -> Error {
    Error::invalid(format!("{name} = '{value}' is not understood")).with_help(format!("use {choices}"))
}

/// Reads `state_ttl = '…'`.
pub(crate) fn parse_ttl(value: &str) -> Result<i64> {
    match parse_duration(value)? {
        0 => {
            Err(Error::invalid("state_ttl is zero, so nothing could be kept").with_help("use a time such as '7 days'"))
        }
        ttl_ns => Ok(ttl_ns),
    }
}

/// Reads a duration such as `30 days` in nanoseconds; months have no fixed length and are refused.
pub(crate) fn parse_duration(text: &str) -> Result<i64> {
    let refuse = || {
        let error = Error::invalid(format!("the duration '{text}' is not understood"));
        error.with_help("write a number and a unit from seconds to weeks, such as '30 days' or '1 hour 30 minutes'")
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return Err(refuse());
    }
    let mut nanos = 0_i64;
    for pair in words.chunks_exact(2) {
        let number: i64 = pair[0].parse().ok().filter(|n| *n >= 0).ok_or_else(refuse)?;
        let seconds = match pair[1].to_lowercase().trim_end_matches('s') {
            "second" | "sec" => 1,
            "minute" | "min" => 60,
            "hour" => 3_600,
            "day" => 86_400,
            "week" => 604_800,
            _ => return Err(refuse()),
        };
        let part = number.checked_mul(seconds).and_then(|s| s.checked_mul(1_000_000_000)).ok_or_else(refuse)?;
        nanos = nanos.checked_add(part).ok_or_else(refuse)?;
    }
    Ok(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_nanoseconds() {
        assert_eq!(parse_duration("1 hour 30 minutes").expect("a duration"), 5_400_000_000_000);
        assert_eq!(parse_duration("30 days").expect("a duration"), 2_592_000_000_000_000);
        for wrong in ["", "days", "1 month", "-1 days", "9999999999999 weeks"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
