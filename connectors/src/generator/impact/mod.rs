//! A made-up but plausible programme: companies, volunteers and participants, and a line for everything they do.
//!
//! The same options give the same lines, in the order in which they would arrive: most a few minutes after the fact, some
//! weeks late, some twice, some corrected, some broken, at stated rates. It never looks at the clock. Memory is bounded
//! by one month of all companies plus what is still under way; companies are independent of each other, so that the
//! lines of company 3 are the same whether there are 5 or 500.

mod activity;
mod chance;
mod company;
mod disorder;
mod fact;
mod phrases;
mod source;

pub use source::ImpactConnector;

use chance::Chance;
use chrono::NaiveDate;
use company::Company;
use disorder::Fate;
use fact::Month;
use headwater_core::{Error, Reason, Result};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// The most companies and months that are generated: beyond this a typing mistake is likelier than a wish.
const COMPANIES_MAX: u32 = 100_000;
const MONTHS_MAX: u32 = 1_200;

/// The event types that a generated programme contains, in alphabetical order.
pub const TOPICS: &[&str] = &[
    "buddy.checkin.completed",
    "buddy.event.attended",
    "buddy.event.logged",
    "buddy.feedback.submitted",
    "buddy.match.created",
    "buddy.match.ended",
    "buddy.milestone.reached",
    "buddy.skill_share.completed",
    "ingest.directory.synced",
    "ingest.donation.made",
    "ingest.enrollment.created",
    "ingest.placement.created",
    "ingest.volunteer.logged",
    "kintell.rating.created",
    "kintell.session.completed",
    "kintell.session.scheduled",
    "orchestration.journey.milestone.reached",
    "upskilling.course.completed",
    "upskilling.credential.issued",
    "upskilling.progress.updated",
];

/// How much is generated, and how disorderly.
#[derive(Debug, Clone, PartialEq)]
pub struct ImpactOptions {
    /// How many companies; about 3,500 lines each and year.
    pub companies: u32,
    /// How many calendar months.
    pub months: u32,
    /// A day of the first month.
    pub start: NaiveDate,
    /// The seed of all chance.
    pub seed: u64,
    /// The share of events whose line arrives a second time.
    pub duplicate_rate: f64,
    /// The share of events that arrive 2 to 45 days after they were recorded.
    pub late_rate: f64,
    /// The share of events that are corrected later, among the types that people correct.
    pub correction_rate: f64,
    /// How many broken lines are added, per event.
    pub bad_rate: f64,
}

impl Default for ImpactOptions {
    /// Returns 20 companies, the year 2025, seed 1; 2 % duplicates, 1 % late, 2 % corrections, 0.5 % broken.
    fn default() -> Self {
        Self {
            companies: 20,
            months: 12,
            start: NaiveDate::from_ymd_opt(2025, 1, 1).unwrap_or_default(),
            seed: 1,
            duplicate_rate: 0.02,
            late_rate: 0.01,
            correction_rate: 0.02,
            bad_rate: 0.005,
        }
    }
}

impl ImpactOptions {
    fn check(&self) -> Result<()> {
        if !(1..=COMPANIES_MAX).contains(&self.companies) || !(1..=MONTHS_MAX).contains(&self.months) {
            return Err(Error::invalid(format!(
                "cannot generate {} companies for {} months",
                self.companies, self.months
            ))
            .with_help(format!("use 1 to {COMPANIES_MAX} companies and 1 to {MONTHS_MAX} months")));
        }
        let rates = [
            ("duplicate_rate", self.duplicate_rate),
            ("late_rate", self.late_rate),
            ("correction_rate", self.correction_rate),
            ("bad_rate", self.bad_rate),
        ];
        match rates.iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            Some((name, rate)) => {
                Err(Error::invalid(format!("the {name} {rate} is not a share")).with_help("use 0 to 1"))
            }
            None => Ok(()),
        }
    }
}

/// What the lines so far contain: the truth that a pipeline is tested against.
///
/// `lines = events + duplicates + corrections + Σ bad` always holds. A pipeline that reads the lines in another order
/// may meet a correction before what it corrects and drop the older line; only the sum of duplicates and corrections
/// is independent of order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// All lines.
    pub lines: u64,
    /// Events by distinct id, however often they came.
    pub events: u64,
    /// Lines that repeat an earlier one byte for byte.
    pub duplicates: u64,
    /// Lines that replace an earlier one: the same id, a newer timestamp, another value.
    pub corrections: u64,
    /// How many of `events` came late.
    pub late: u64,
    /// Broken lines by the reason with which they must be refused.
    pub bad: BTreeMap<Reason, u64>,
    /// Distinct events by event type.
    pub events_by_topic: BTreeMap<&'static str, u64>,
}

impl Stated {
    /// Returns the number of broken lines.
    #[must_use]
    pub fn n_bad(&self) -> u64 {
        self.bad.values().sum()
    }

    fn count(&mut self, topic: &'static str, kind: LineKind) {
        self.lines += 1;
        match kind {
            LineKind::Event | LineKind::Late => {
                self.events += 1;
                self.late += u64::from(kind == LineKind::Late);
                *self.events_by_topic.entry(topic).or_default() += 1;
            }
            LineKind::Duplicate => self.duplicates += 1,
            LineKind::Correction => self.corrections += 1,
            LineKind::Bad(reason) => *self.bad.entry(reason).or_default() += 1,
        }
    }
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineKind {
    /// The first line of an event.
    Event,
    /// The first line of an event, long after it was recorded.
    Late,
    /// The line of an event again.
    Duplicate,
    /// A newer version of an event.
    Correction,
    /// A line that must be refused.
    Bad(Reason),
}

/// A line and the topic that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The event type.
    pub topic: &'static str,
    /// What it is.
    pub kind: LineKind,
    /// One JSON object without a line end; truncated when the line is broken that way.
    pub bytes: Vec<u8>,
}

/// A line under way. The order is that of arrival; company and number make it total.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: i64,
    company: usize,
    number: u64,
    topic: &'static str,
    kind: LineKind,
    bytes: Vec<u8>,
}

/// The lines of a programme in the order of their arrival.
#[derive(Debug)]
pub struct ImpactGenerator {
    options: ImpactOptions,
    topic: Option<String>,
    companies: Vec<(Company, Chance)>,
    months_done: u32,
    horizon: i64,
    number: u64,
    under_way: BinaryHeap<Reverse<Arrival>>,
    stated: Stated,
}

impl ImpactGenerator {
    /// Founds the companies.
    ///
    /// # Errors
    /// `Invalid` when a rate is not between 0 and 1, or there is nothing or absurdly much to generate.
    pub fn new(options: ImpactOptions) -> Result<Self> {
        options.check()?;
        let company = |index: u32| {
            let index = u64::from(index);
            (Company::new(options.seed, index, options.months), Chance::new(options.seed, index * 2 + 1))
        };
        let companies = (0..options.companies).map(company).collect();
        Ok(Self {
            options,
            topic: None,
            companies,
            months_done: 0,
            horizon: i64::MIN,
            number: 0,
            under_way: BinaryHeap::new(),
            stated: Stated::default(),
        })
    }

    /// Keeps one topic: its lines are the same, in the same order, as among all topics.
    #[must_use]
    pub fn only(mut self, topic: &str) -> Self {
        self.topic = Some(topic.to_owned());
        self
    }

    /// Returns what the lines so far contain.
    #[must_use]
    pub fn stated(&self) -> &Stated {
        &self.stated
    }

    /// Returns the share of months whose lines have been generated, for a progress bar: done and all.
    #[must_use]
    pub fn progress(&self) -> (u32, u32) {
        (self.months_done, self.options.months)
    }

    fn live_month(&mut self) {
        let month = Month::of(self.options.start, self.months_done);
        for (index, (company, chance)) in self.companies.iter_mut().enumerate() {
            for fact in company.live(month) {
                let fate = Fate::draw(chance, &fact, &self.options);
                let topic = fact.topic;
                self.number += 1;
                if self.topic.as_ref().is_some_and(|only| only != topic) {
                    continue;
                }
                let number = self.number;
                fate.write(fact, (&company.id, &company.name), |at, kind, bytes| {
                    self.under_way.push(Reverse(Arrival { at, company: index, number, topic, kind, bytes }));
                });
            }
        }
        self.months_done += 1;
        self.horizon = if self.months_done == self.options.months { i64::MAX } else { month.end };
    }
}

impl Iterator for ImpactGenerator {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        while self.months_done < self.options.months
            && self.under_way.peek().is_none_or(|Reverse(first)| first.at >= self.horizon)
        {
            self.live_month();
        }
        let Reverse(Arrival { topic, kind, bytes, .. }) = self.under_way.pop()?;
        self.stated.count(topic, kind);
        Some(Line { topic, kind, bytes })
    }
}

#[cfg(test)]
mod tests;
