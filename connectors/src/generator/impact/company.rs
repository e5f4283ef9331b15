//! A company of the programme: its people, how they stand, and the month's plan of who does what.
//!
//! Each company has a stream of chance of its own, so that adding companies changes nothing in those that were there.
//! State: the people and their progress, a few dozen per company; nothing of what was generated is kept.

use super::activity;
use super::chance::Chance;
use super::fact::{DAY, Fact, HOUR, MINUTE, Month};
use super::phrases::{Language, Tone};

const FIRST_WORDS: &[&str] =
    &["Nordlys", "Fjord", "Harbour", "Summit", "Dnipro", "Aurora", "Birch", "Granite", "Lantern", "Meridian"];
const SECOND_WORDS: &[&str] =
    &["Energy", "Consulting", "Shipping", "Software", "Bank", "Foods", "Logistics", "Telecom"];
const FIRST_NAMES: &[&str] = &[
    "Olena", "Maria", "Taras", "Iryna", "Ahmad", "Noor", "Sara", "Ingrid", "Per", "Kari", "Jonas", "Emma", "Liam",
    "Grace",
];
const LAST_NAMES: &[&str] =
    &["Kovalenko", "Shevchenko", "Hansen", "Olsen", "Berg", "Haddad", "Smith", "Green", "Lund", "Bondar"];

/// How many volunteers and participants a company has.
const VOLUNTEERS: (i64, i64) = (8, 14);
const PARTICIPANTS: (i64, i64) = (26, 46);

/// A person of either side.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) id: String,
    pub(super) first_name: &'static str,
    pub(super) last_name: &'static str,
    pub(super) language: Language,
    /// A number that is unique within the company.
    pub(super) number: usize,
}

/// A buddy pair.
#[derive(Debug, Clone)]
pub(super) struct Match {
    pub(super) id: String,
    pub(super) buddy: String,
    pub(super) since: i64,
    pub(super) events_attended: i64,
}

/// A course somebody is taking.
#[derive(Debug, Clone)]
pub(super) struct Course {
    pub(super) progress_id: String,
    pub(super) provider: &'static str,
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) percent: i64,
}

/// Somebody the programme is for.
#[derive(Debug, Clone)]
pub(super) struct Participant {
    pub(super) person: Person,
    joined: u32,
    left: bool,
    /// The CEFR level as an index: A1 is 0.
    pub(super) level: usize,
    buddy: Option<Match>,
    course: Option<Course>,
    n_courses: usize,
    employed: bool,
    /// How things go, 0 to 100; it moves by chance and rises a little every month.
    spirits: i64,
}

/// What happens in one company in one month: the place where facts are collected.
pub(super) struct Page<'a> {
    pub(super) chance: &'a mut Chance,
    pub(super) company: &'a str,
    pub(super) month: Month,
    pub(super) facts: Vec<Fact>,
}

impl Page<'_> {
    /// Draws a moment of the month between 07:00 and 20:59.
    pub(super) fn moment(&mut self) -> i64 {
        let day = self.chance.between(0, self.month.days() - 1);
        self.month.start + day * DAY + self.chance.between(7 * HOUR / MINUTE, 21 * HOUR / MINUTE - 1) * MINUTE
    }

    /// Writes a fact down.
    pub(super) fn note(&mut self, topic: &'static str, at: i64, data: serde_json::Value) {
        self.facts.push(Fact { topic, data, at });
    }
}

/// A company and its people.
#[derive(Debug)]
pub(super) struct Company {
    pub(super) id: String,
    pub(super) name: String,
    chance: Chance,
    volunteers: Vec<Person>,
    participants: Vec<Participant>,
    milestones: i64,
}

impl Company {
    /// Founds company number `index`; participants join over the first two thirds of `months`.
    pub(super) fn new(seed: u64, index: u64, months: u32) -> Self {
        let mut chance = Chance::new(seed, index * 2);
        let id = chance.uuid();
        let name = format!("{} {} {}", chance.pick(FIRST_WORDS), chance.pick(SECOND_WORDS), index + 1);
        let n_volunteers = usize::try_from(chance.between(VOLUNTEERS.0, VOLUNTEERS.1)).unwrap_or(1);
        let n_participants = usize::try_from(chance.between(PARTICIPANTS.0, PARTICIPANTS.1)).unwrap_or(1);
        let volunteers = (0..n_volunteers).map(|number| person(&mut chance, number)).collect();
        let last_join = i64::from(months * 2 / 3);
        let participants = (0..n_participants)
            .map(|number| Participant {
                person: person(&mut chance, n_volunteers + number),
                joined: u32::try_from(if chance.percent(50) { 0 } else { chance.between(0, last_join) }).unwrap_or(0),
                left: false,
                level: chance.below(3),
                buddy: None,
                course: None,
                n_courses: 0,
                employed: false,
                spirits: chance.between(30, 60),
            })
            .collect();
        Self { id, name, chance, volunteers, participants, milestones: 0 }
    }

    /// Lives one month and returns what happened, in no order.
    pub(super) fn live(&mut self, month: Month) -> Vec<Fact> {
        let mut chance = self.chance.clone();
        let mut page = Page { chance: &mut chance, company: &self.id, month, facts: Vec::new() };
        for volunteer in &self.volunteers {
            volunteer_month(&mut page, volunteer);
        }
        for participant in &mut self.participants {
            if participant.joined <= month.index && !participant.left {
                participant_month(&mut page, participant, &self.volunteers, &mut self.milestones);
            }
        }
        let facts = page.facts;
        self.chance = chance;
        facts
    }
}

fn person(chance: &mut Chance, number: usize) -> Person {
    let language = match chance.below(10) {
        0..=4 => Language::English,
        5..=7 => Language::Norwegian,
        _ => Language::Ukrainian,
    };
    let (first_name, last_name) = (*chance.pick(FIRST_NAMES), *chance.pick(LAST_NAMES));
    Person { id: chance.uuid(), first_name, last_name, language, number }
}

fn volunteer_month(page: &mut Page<'_>, volunteer: &Person) {
    if page.month.index == 0 || page.chance.percent(4) {
        activity::directory_synced(page, volunteer);
    }
    for _ in 0..page.chance.between(0, 3) {
        activity::hours_logged(page, volunteer);
    }
    if page.chance.percent(12) {
        activity::donation_made(page, volunteer);
    }
}

fn participant_month(page: &mut Page<'_>, participant: &mut Participant, volunteers: &[Person], milestones: &mut i64) {
    if participant.joined == page.month.index {
        activity::enrolled(page, &participant.person, activity::PROGRAMMES[0]);
        participant.buddy = page.chance.percent(85).then(|| activity::matched(page, &participant.person, volunteers));
    }
    participant.spirits = (participant.spirits + page.chance.between(-9, 14)).clamp(5, 95);
    language_sessions(page, participant, volunteers);
    if page.chance.percent(35) {
        let at = page.moment();
        let tone = tone_of(page.chance, participant.spirits);
        activity::session(page, &participant.person, volunteers, activity::Session { at, level: None, tone });
    }
    buddy_life(page, participant);
    course_life(page, participant);
    if page.chance.percent(18) {
        *milestones += 1;
        activity::milestone_reached(page, &participant.person, *milestones);
    }
    work_life(page, participant);
    if page.month.index > participant.joined && page.chance.percent(3) {
        participant.left = true;
        if let Some(pair) = participant.buddy.take() {
            activity::match_ended(page, &participant.person, &pair);
        }
    }
}

fn language_sessions(page: &mut Page<'_>, participant: &mut Participant, volunteers: &[Person]) {
    let n_sessions = page.chance.between(0, 4);
    let mut moments: Vec<i64> = (0..n_sessions).map(|_| page.moment()).collect();
    moments.sort_unstable();
    for (number, at) in moments.into_iter().enumerate() {
        if number + 1 == usize::try_from(n_sessions).unwrap_or(0) && participant.level < 5 && page.chance.percent(14) {
            participant.level += 1;
            activity::journey(page, &participant.person, "language_level_up", at);
        }
        let tone = tone_of(page.chance, participant.spirits);
        let level = Some(participant.level);
        activity::session(page, &participant.person, volunteers, activity::Session { at, level, tone });
    }
}

fn buddy_life(page: &mut Page<'_>, participant: &mut Participant) {
    let Some(pair) = participant.buddy.as_mut() else { return };
    for (percent, happens) in [
        (55, activity::checked_in as fn(&mut Page<'_>, &Person, &Match, Tone)),
        (30, activity::feedback_given),
        (15, activity::skill_shared),
    ] {
        if page.chance.percent(percent) {
            let tone = tone_of(page.chance, participant.spirits);
            happens(page, &participant.person, pair, tone);
        }
    }
    if page.chance.percent(40) {
        pair.events_attended += 1;
        activity::event_attended(page, &participant.person, pair);
    }
    if page.chance.percent(20) {
        activity::event_logged(page, &participant.person, pair);
    }
}

fn course_life(page: &mut Page<'_>, participant: &mut Participant) {
    let Some(course) = participant.course.as_mut() else {
        if page.chance.percent(18) {
            let course = activity::course_started(page, &participant.person, participant.n_courses);
            participant.course = Some(course);
        }
        return;
    };
    course.percent = (course.percent + page.chance.between(10, 60)).min(100);
    let dropped = course.percent < 100 && page.chance.percent(4);
    let done = activity::course_moved(page, &participant.person, course, dropped);
    if done || dropped {
        participant.n_courses += usize::from(done);
        participant.course = None;
    }
}

fn work_life(page: &mut Page<'_>, participant: &mut Participant) {
    let months_in = page.month.index - participant.joined;
    if participant.employed || months_in < 3 || participant.level < 2 {
        return;
    }
    if page.chance.percent(8) {
        let at = page.moment();
        activity::journey(page, &participant.person, "job_ready", at);
    }
    if page.chance.percent(5 + u32::try_from(participant.n_courses).unwrap_or(0) * 4) {
        participant.employed = true;
        activity::placed(page, &participant.person);
    }
}

fn tone_of(chance: &mut Chance, spirits: i64) -> Tone {
    let draw = chance.between(0, 99);
    match chance.below(10) {
        0..=1 => Tone::Negated,
        2..=3 => Tone::Neutral,
        _ if draw < spirits => Tone::Positive,
        _ => Tone::Negative,
    }
}
