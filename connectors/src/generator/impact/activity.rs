//! The events of the programme, each written as its contract says.
//!
//! Every function notes one fact (a session and its rating: several) on the page of the month. Numbers with decimals are
//! quarters or cents, so that they print the same everywhere. There is no state.

use super::chance::Chance;
use super::company::{Course, Match, Page, Person};
use super::fact::{DAY, HOUR, MINUTE, iso};
use super::phrases::{Tone, compose};
use serde_json::{Value, json};

/// A programme: the contract's type, the name, and a number for its id.
pub(super) type Programme = (&'static str, &'static str, &'static str);

/// The programmes people enrol in.
pub(super) const PROGRAMMES: [Programme; 3] = [
    ("language_course", "PRG-LANGUAGE", "Language Connect"),
    ("buddy_program", "PRG-BUDDY", "Buddy programme"),
    ("upskilling_course", "PRG-UPSKILLING", "Upskilling"),
];

const LEVELS: [&str; 6] = ["A1", "A2", "B1", "B2", "C1", "C2"];
const COURSES: [(&str, &str, &str); 5] = [
    ("itslearning", "TECH-101", "Technology Essentials"),
    ("itslearning", "DATA-201", "Data Analytics Fundamentals"),
    ("ecornell", "PM-110", "Project Management"),
    ("ecornell", "SRV-120", "Customer Service"),
    ("itslearning", "NOR-201", "Norwegian for Work"),
];
const ACTIVITIES: [(&str, &str, &str); 6] = [
    ("CV workshop", "skills_volunteering", "employment"),
    ("Homework help", "hands_on_volunteering", "education"),
    ("Online career talk", "virtual_volunteering", "employment"),
    ("Food bank shift", "hands_on_volunteering", "poverty"),
    ("Legal advice evening", "pro_bono", "integration"),
    ("Advisory board", "board_service", "community"),
];
const EVENTS: [(&str, &str, &str); 5] = [
    ("Museum evening", "cultural", "in-person"),
    ("Language cafe", "language", "in-person"),
    ("Interview practice", "professional", "online"),
    ("Sunday hike", "recreational", "in-person"),
    ("Community dinner", "social", "hybrid"),
];
const MILESTONES: [(&str, &str, i64); 5] = [
    ("First conversation", "onboarding", 10),
    ("Ten new words", "language", 15),
    ("Met the team", "community", 20),
    ("First application sent", "professional", 30),
    ("Five events", "events", 25),
];
const MOODS: [&str; 5] = ["difficult", "struggling", "okay", "good", "great"];
const TOPICS: [&str; 6] = ["grammar", "pronunciation", "work", "daily life", "interview", "CV"];

/// A session about to be written down.
pub(super) struct Session {
    /// When it is to start.
    pub(super) at: i64,
    /// The language level as an index; `None` for a mentorship session.
    pub(super) level: Option<usize>,
    /// What its rating will say.
    pub(super) tone: Tone,
}

/// Returns a rating of 0 to 1 in quarters that fits the tone.
fn rating(chance: &mut Chance, tone: Tone) -> Value {
    let quarters = match tone {
        Tone::Positive => chance.between(3, 4),
        Tone::Negative => chance.between(0, 2),
        Tone::Negated | Tone::Neutral => chance.between(1, 4),
    };
    json!(quarters_of(quarters))
}

/// Returns a number of quarters as a number; exact in binary.
pub(super) fn quarters_of(quarters: i64) -> f64 {
    f64::from(i32::try_from(quarters).unwrap_or(0)) / 4.0
}

pub(super) fn directory_synced(page: &mut Page<'_>, person: &Person) {
    let at = page.moment();
    let email = format!("{}.{}{}@example.com", person.first_name, person.last_name, person.number).to_lowercase();
    let department = *page.chance.pick(&["Finance", "Engineering", "Sales", "People", "Operations"]);
    let data = json!({
        "sourceSystem": "workday", "sourceId": format!("WD-{}", person.number), "sourceTenantId": page.company,
        "userId": person.id, "externalUserId": format!("E{:05}", person.number), "companyId": page.company,
        "email": email, "firstName": person.first_name, "lastName": person.last_name,
        "employeeType": "full_time", "status": "active", "department": department,
        "location": {"country": "NO", "city": "Oslo"}, "jobTitle": "Specialist", "lastUpdated": iso(at),
    });
    page.note("ingest.directory.synced", at, data);
}

pub(super) fn hours_logged(page: &mut Page<'_>, person: &Person) {
    let done = page.moment();
    let (name, kind, cause) = *page.chance.pick(&ACTIVITIES);
    let quarters = page.chance.between(2, 24);
    let data = json!({
        "sourceSystem": *page.chance.pick(&["benevity", "goodera", "manual"]),
        "sourceId": format!("VH-{}", page.chance.between(100_000, 999_999)), "sourceTenantId": page.company,
        "userId": person.id, "externalUserId": format!("E{:05}", person.number), "companyId": page.company,
        "activityName": name, "activityType": kind, "hoursLogged": quarters_of(quarters), "activityDate": iso(done),
        "causeArea": cause, "sdgGoals": [8, 10], "verified": page.chance.percent(70),
        "location": {"country": "NO", "city": "Oslo"},
    });
    let recorded = done + page.chance.between(1, 30) * HOUR;
    page.note("ingest.volunteer.logged", recorded, data);
}

pub(super) fn donation_made(page: &mut Page<'_>, person: &Person) {
    let at = page.moment();
    let amount = page.chance.between(5, 200) * 5;
    let data = json!({
        "sourceSystem": "benevity", "sourceId": format!("DN-{}", page.chance.between(100_000, 999_999)),
        "sourceTenantId": page.company, "userId": person.id, "externalUserId": format!("E{:05}", person.number),
        "companyId": page.company, "donationType": *page.chance.pick(&["one_time", "recurring", "payroll_deduction"]),
        "amount": amount, "currency": "USD", "amountUSD": amount, "nonprofitName": "Welcome House",
        "donationDate": iso(at), "companyMatch": {"matched": true, "matchAmount": amount, "matchRatio": 1},
    });
    page.note("ingest.donation.made", at + HOUR, data);
}

pub(super) fn enrolled(page: &mut Page<'_>, person: &Person, (kind, id, name): Programme) {
    let at = page.month.start + page.chance.between(0, 2 * DAY / MINUTE) * MINUTE;
    let source = if kind == "upskilling_course" { "upskilling" } else { "kintell" };
    let data = json!({
        "sourceSystem": source, "sourceId": format!("EN-{}", page.chance.between(100_000, 999_999)),
        "userId": person.id, "companyId": page.company, "programType": kind, "programId": id, "programName": name,
        "enrollmentDate": iso(at), "status": "enrolled",
    });
    page.note("ingest.enrollment.created", at, data);
}

pub(super) fn matched(page: &mut Page<'_>, person: &Person, volunteers: &[Person]) -> Match {
    enrolled(page, person, PROGRAMMES[1]);
    let buddy = page.chance.pick(volunteers).id.clone();
    let at = page.month.start + page.chance.between(DAY, 4 * DAY);
    let pair = Match { id: page.chance.uuid(), buddy, since: at, events_attended: 0 };
    let data = json!({
        "matchId": pair.id, "participantId": person.id, "buddyId": pair.buddy, "matchedAt": iso(at),
        "matchingCriteria": {"language": "en", "interests": ["cooking", "music"], "location": "Oslo"},
    });
    page.note("buddy.match.created", at, data);
    journey(page, person, "buddy_matched", at);
    pair
}

pub(super) fn match_ended(page: &mut Page<'_>, person: &Person, pair: &Match) {
    let at = page.month.end - page.chance.between(HOUR, DAY);
    let data = json!({
        "matchId": pair.id, "participantId": person.id, "buddyId": pair.buddy, "endedAt": iso(at),
        "duration": ((at - pair.since) / DAY).max(1), "eventsAttended": pair.events_attended,
        "reason": *page.chance.pick(&["completed", "mutual_agreement", "participant_request", "inactivity"]),
    });
    page.note("buddy.match.ended", at, data);
}

pub(super) fn event_logged(page: &mut Page<'_>, person: &Person, pair: &Match) {
    let at = page.moment();
    let data = json!({
        "eventId": page.chance.uuid(), "matchId": pair.id,
        "eventType": *page.chance.pick(&["hangout", "activity", "workshop"]), "eventDate": iso(at),
        "description": "Met in town", "location": "Oslo", "attendees": [person.id, pair.buddy],
    });
    page.note("buddy.event.logged", at + 2 * HOUR, data);
}

pub(super) fn event_attended(page: &mut Page<'_>, person: &Person, pair: &Match) {
    let at = page.moment();
    let event = page.chance.uuid();
    let (title, kind, format) = *page.chance.pick(&EVENTS);
    let minutes = page.chance.between(3, 12) * 15;
    for user in [&person.id, &pair.buddy] {
        let data = json!({
            "eventId": event, "userId": user, "matchId": pair.id, "eventTitle": title, "eventType": kind,
            "eventFormat": format, "attendedAt": iso(at), "location": "Oslo", "durationMinutes": minutes,
            "sdgGoals": [11],
        });
        page.note("buddy.event.attended", at + 3 * HOUR, data);
    }
}

pub(super) fn checked_in(page: &mut Page<'_>, person: &Person, pair: &Match, tone: Tone) {
    let at = page.moment();
    let mood = match tone {
        Tone::Positive => page.chance.between(3, 4),
        Tone::Negative => page.chance.between(0, 1),
        Tone::Negated | Tone::Neutral => 2,
    };
    let mut data = json!({
        "checkinId": page.chance.uuid(), "matchId": pair.id, "checkinDate": iso(at),
        "mood": MOODS[usize::try_from(mood).unwrap_or(2)],
    });
    if page.chance.percent(80) {
        data["notes"] = json!(compose(page.chance, person.language, tone));
    }
    page.note("buddy.checkin.completed", at + MINUTE, data);
}

pub(super) fn feedback_given(page: &mut Page<'_>, person: &Person, pair: &Match, tone: Tone) {
    let at = page.moment();
    let role = if page.chance.percent(75) { "participant" } else { "buddy" };
    let mut data = json!({
        "feedbackId": page.chance.uuid(), "matchId": pair.id, "fromRole": role,
        "rating": rating(page.chance, tone), "submittedAt": iso(at),
    });
    if page.chance.percent(85) {
        data["feedbackText"] = json!(compose(page.chance, person.language, tone));
    }
    if page.chance.percent(50) {
        let (first, second) = (rating(page.chance, tone), rating(page.chance, tone));
        data["categories"] = json!({"communication": first, "helpfulness": second});
    }
    page.note("buddy.feedback.submitted", at + MINUTE, data);
}

pub(super) fn skill_shared(page: &mut Page<'_>, person: &Person, pair: &Match, tone: Tone) {
    let at = page.moment();
    let data = json!({
        "sessionId": page.chance.uuid(), "skillId": page.chance.between(1, 40), "skillName": "Spreadsheets",
        "skillCategory": "digital", "teacherId": pair.buddy, "learnerId": person.id, "matchId": pair.id,
        "completedAt": iso(at), "durationMinutes": page.chance.between(2, 8) * 15, "format": "online",
        "proficiencyLevel": "beginner",
        "feedback": {
            "learnerRating": rating(page.chance, tone),
            "learnerComment": compose(page.chance, person.language, tone),
            "learnerProgress": "some-progress",
        },
    });
    page.note("buddy.skill_share.completed", at + HOUR, data);
}

pub(super) fn milestone_reached(page: &mut Page<'_>, person: &Person, number: i64) {
    let at = page.moment();
    let (title, category, points) = *page.chance.pick(&MILESTONES);
    let data = json!({
        "milestoneId": number, "userId": person.id, "milestoneTitle": title, "milestoneCategory": category,
        "reachedAt": iso(at), "points": points, "targetRole": "participant",
    });
    page.note("buddy.milestone.reached", at, data);
}

pub(super) fn journey(page: &mut Page<'_>, person: &Person, milestone: &'static str, at: i64) {
    let data = json!({"userId": person.id, "milestone": milestone, "reachedAt": iso(at)});
    page.note("orchestration.journey.milestone.reached", at, data);
}

pub(super) fn session(page: &mut Page<'_>, person: &Person, volunteers: &[Person], session: Session) {
    let Session { at, level, tone } = session;
    let id = page.chance.uuid();
    let volunteer = &page.chance.pick(volunteers).id;
    let kind = if level.is_some() { "language" } else { "mentorship" };
    let scheduled = json!({
        "sessionId": id, "externalSessionId": format!("KS-{}", &id[..8]), "sessionType": kind,
        "participantId": person.id, "volunteerId": volunteer, "scheduledAt": iso(at),
    });
    let booked = (at - page.chance.between(0, 3) * DAY).max(page.month.start);
    page.note("kintell.session.scheduled", booked, scheduled.clone());
    if page.chance.percent(6) {
        return;
    }
    let minutes = page.chance.between(6, 18) * 5;
    let ended = at + minutes * MINUTE;
    let mut completed = scheduled;
    completed["completedAt"] = json!(iso(ended));
    completed["durationMinutes"] = json!(minutes);
    completed["topics"] = json!([*page.chance.pick(&TOPICS)]);
    if let Some(level) = level {
        completed["languageLevel"] = json!(LEVELS[level]);
    }
    page.note("kintell.session.completed", ended, completed);
    if page.chance.percent(55) {
        let rated = ended + page.chance.between(5, 300) * MINUTE;
        let role = if page.chance.percent(70) { "participant" } else { "volunteer" };
        let mut data = json!({
            "ratingId": page.chance.uuid(), "sessionId": id, "fromRole": role, "rating": rating(page.chance, tone),
            "createdAt": iso(rated),
        });
        if page.chance.percent(65) {
            data["feedbackText"] = json!(compose(page.chance, person.language, tone));
        }
        page.note("kintell.rating.created", rated, data);
    }
}

pub(super) fn course_started(page: &mut Page<'_>, person: &Person, n_before: usize) -> Course {
    enrolled(page, person, PROGRAMMES[2]);
    let (provider, id, name) = COURSES[(person.number + n_before) % COURSES.len()];
    let course = Course { progress_id: page.chance.uuid(), provider, id, name, percent: 0 };
    let at = page.moment();
    progress_updated(page, person, &course, ("enrolled", at));
    journey(page, person, "course_enrolled", at);
    course
}

/// Notes where a course stands after this month; returns whether it is completed.
pub(super) fn course_moved(page: &mut Page<'_>, person: &Person, course: &Course, dropped: bool) -> bool {
    let at = page.moment();
    let done = course.percent >= 100;
    let status = if dropped { "dropped" } else { ["in_progress", "completed"][usize::from(done)] };
    progress_updated(page, person, course, (status, at));
    if done {
        let reference = format!("CERT-{}-{}", course.id, &course.progress_id[..8]);
        let data = json!({
            "progressId": course.progress_id, "userId": person.id, "provider": course.provider, "courseId": course.id,
            "courseName": course.name, "completedAt": iso(at), "finalScore": page.chance.between(120, 200) / 2,
            "credentialRef": reference,
        });
        page.note("upskilling.course.completed", at, data);
        journey(page, person, "course_completed", at);
        if page.chance.percent(70) {
            credential_issued(page, person, course, at);
        }
    }
    done
}

fn progress_updated(page: &mut Page<'_>, person: &Person, course: &Course, (status, at): (&str, i64)) {
    let data = json!({
        "progressId": course.progress_id, "userId": person.id, "provider": course.provider, "courseId": course.id,
        "courseName": course.name, "progressPercent": course.percent, "status": status, "updatedAt": iso(at),
    });
    page.note("upskilling.progress.updated", at, data);
}

fn credential_issued(page: &mut Page<'_>, person: &Person, course: &Course, completed: i64) {
    let at = completed + page.chance.between(1, 20) * HOUR;
    let id = page.chance.uuid();
    let kind = *page.chance.pick(&["certificate", "certificate", "diploma", "badge"]);
    let data = json!({
        "credentialId": id, "userId": person.id, "provider": course.provider, "courseId": course.id,
        "courseName": course.name, "credentialType": kind, "issuedAt": iso(at),
        "credentialUrl": format!("https://credentials.example.org/{}", &id[..8]),
        "verificationCode": format!("VERIFY-{}", &id[..6]),
    });
    page.note("upskilling.credential.issued", at, data);
    journey(page, person, "credential_earned", at);
}

pub(super) fn placed(page: &mut Page<'_>, person: &Person) {
    let at = page.moment();
    let kind = *page.chance.pick(&["job_placement", "job_placement", "internship", "apprenticeship"]);
    let data = json!({
        "sourceSystem": *page.chance.pick(&["mentorship", "job_board"]),
        "sourceId": format!("PL-{}", page.chance.between(100_000, 999_999)), "userId": person.id,
        "companyId": page.company, "placementType": kind, "placementDate": iso(at), "status": "active",
        "jobTitle": "Assistant", "jobLevel": "entry", "industry": "services",
    });
    page.note("ingest.placement.created", at, data);
}
