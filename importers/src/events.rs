//! What a row of each kind means: which events it becomes. Pure functions of one row.
//!
//! Three kinds of sessions share one event. A rating becomes an event of its own; a feedback text without a rating has
//! no event that could carry it, so the session is taken over and the text is refused with the reason. A match that is
//! no longer active becomes a second event only when the row says when it ended.

use crate::Kind;
use crate::cell::Refusal;
use crate::row::{Data, Row};
use headwater_core::Reason;
use serde_json::json;

/// Nanoseconds in a day.
const DAY_NANOS: i64 = 86_400_000_000_000;

/// What a row became.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Topics and lines.
    pub(crate) events: Vec<(&'static str, Vec<u8>)>,
    /// A part of the row that could not be taken over, and the topic where it would have gone.
    pub(crate) refused_part: Option<(&'static str, Refusal)>,
    /// What the user should know about the row.
    pub(crate) note: Option<&'static str>,
}

impl From<(&'static str, Vec<u8>)> for Made {
    fn from(event: (&'static str, Vec<u8>)) -> Self {
        Self { events: vec![event], ..Self::default() }
    }
}

/// Makes the events of a row.
pub(crate) fn make(row: &Row<'_>) -> Result<Made, Refusal> {
    match row.kind {
        Kind::Kintell => session(row, row.need_text("session_type")?, "date", "date", "duration_min"),
        Kind::Mentorship => session(row, "mentorship", "scheduled_at", "completed_at", "duration_minutes"),
        Kind::Language => session(row, "language", "scheduled_at", "completed_at", "duration_minutes"),
        Kind::BuddyMatches => buddy_match(row),
        Kind::BuddyEvents => buddy_event(row).map(Made::from),
        Kind::BuddyCheckins => buddy_checkin(row).map(Made::from),
        Kind::BuddyFeedback => buddy_feedback(row).map(Made::from),
        Kind::CourseCompletions => course_completion(row).map(Made::from),
        Kind::Credentials => credential(row).map(Made::from),
        Kind::Sessions => volunteer_session(row).map(Made::from),
    }
}

type Event = (&'static str, Vec<u8>);

fn session(row: &Row<'_>, session_type: &str, from: &str, to: &str, minutes: &str) -> Result<Made, Refusal> {
    let name = row.need_text("session_id")?;
    let (scheduled, completed) = (row.need_time(from)?, row.need_time(to)?);
    if completed < scheduled {
        let message = format!("the session is completed before it is scheduled ('{from}')");
        return Err(Refusal { reason: Reason::ImportOrder, field: to.to_owned(), message });
    }
    let session_id = row.id("session", &[row.kind.name(), name]);
    let data = Data::default()
        .with_id("sessionId", session_id)
        .with("externalSessionId", name)
        .with("sessionType", session_type)
        .with_id("participantId", row.person("participant_email")?)
        .with_id("volunteerId", row.person("volunteer_email")?)
        .with_time("scheduledAt", scheduled)
        .with_time("completedAt", completed)
        .with("durationMinutes", row.need_whole(minutes)?)
        .with_some("topics", row.list("topics").or_else(|| row.list("focus_area")))
        .with_some("languageLevel", row.text("language_level"));
    let mut made = Made::from(row.event("kintell.session.completed", &[name], completed, data));
    let text = row.text("feedback_text");
    if let Some(rating) = row.number("rating") {
        let data = Data::default()
            .with_id("ratingId", row.id("rating", &[row.kind.name(), name]))
            .with_id("sessionId", session_id)
            .with("fromRole", "participant")
            .with("rating", rating)
            .with_some("feedbackText", text)
            .with_time("createdAt", completed);
        made.events.push(row.event("kintell.rating.created", &[name], completed, data));
    } else if text.is_some() {
        let message = "'rating' is empty, and a feedback text needs one; the session itself is imported".to_owned();
        let refusal = Refusal { reason: Reason::ImportMissing, field: "rating".to_owned(), message };
        made.refused_part = Some(("kintell.rating.created", refusal));
    }
    Ok(made)
}

fn buddy_match(row: &Row<'_>) -> Result<Made, Refusal> {
    let (participant, buddy) = (row.person("participant_email")?, row.person("buddy_email")?);
    let matched = row.need_time("matched_at")?;
    let own_name = row.text("match_id").map(str::to_owned);
    let name = own_name.unwrap_or_else(|| format!("{participant} {buddy} {matched}"));
    let match_id = row.named("match", &name);
    let criteria = Data::default()
        .with_some("language", row.text("language"))
        .with_some("interests", row.list("interests"))
        .with_some("location", row.text("location"));
    let pair =
        || Data::default().with_id("matchId", match_id).with_id("participantId", participant).with_id("buddyId", buddy);
    let data = pair().with_time("matchedAt", matched).with_some("matchingCriteria", criteria.into_object());
    let mut made = Made::from(row.event("buddy.match.created", &[&name], matched, data));
    let active = matches!(row.text("status"), None | Some("active"));
    match row.time("ended_at") {
        Some(ended) if ended < matched => {
            let message = "the match ended before it was made".to_owned();
            return Err(Refusal { reason: Reason::ImportOrder, field: "ended_at".to_owned(), message });
        }
        Some(ended) if !active => {
            let data = pair()
                .with_time("endedAt", ended)
                .with("duration", ((ended - matched) / DAY_NANOS).max(1))
                .with("reason", row.text("end_reason").unwrap_or("other"));
            made.events.push(row.event("buddy.match.ended", &[&name], ended, data));
        }
        Some(_) => made.note = Some("the match is active although it has an end: the end is not taken over"),
        None if !active => {
            made.note = Some("the match is no longer active but has no end: only its beginning is taken over")
        }
        None => {}
    }
    Ok(made)
}

fn buddy_event(row: &Row<'_>) -> Result<Event, Refusal> {
    let (pair, event_type, date) =
        (row.need_text("match_id")?, row.need_text("event_type")?, row.need_time("event_date")?);
    let own_name = row.text("event_id").map(str::to_owned);
    let name = own_name.unwrap_or_else(|| [pair, event_type, &date.to_string()].join("\u{1f}"));
    let data = Data::default()
        .with_id("eventId", row.named("buddy-event", &name))
        .with_id("matchId", row.named("match", pair))
        .with("eventType", event_type)
        .with_time("eventDate", date)
        .with_some("description", row.text("description"))
        .with_some("location", row.text("location"))
        .with_some("attendees", row.people("attendees")?);
    Ok(row.event("buddy.event.logged", &[&name], date, data))
}

fn buddy_checkin(row: &Row<'_>) -> Result<Event, Refusal> {
    let (pair, date) = (row.need_text("match_id")?, row.need_time("checkin_date")?);
    let own_name = row.text("checkin_id").map(str::to_owned);
    let name = own_name.unwrap_or_else(|| [pair, &date.to_string()].join("\u{1f}"));
    let data = Data::default()
        .with_id("checkinId", row.named("checkin", &name))
        .with_id("matchId", row.named("match", pair))
        .with_time("checkinDate", date)
        .with_some("mood", row.text("mood"))
        .with_some("notes", row.text("notes"))
        .with_some("questionResponses", row.object("question_responses"));
    Ok(row.event("buddy.checkin.completed", &[&name], date, data))
}

fn buddy_feedback(row: &Row<'_>) -> Result<Event, Refusal> {
    let (pair, role, date) = (row.need_text("match_id")?, row.need_text("from_role")?, row.need_time("submitted_at")?);
    let own_name = row.text("feedback_id").map(str::to_owned);
    let name = own_name.unwrap_or_else(|| [pair, role, &date.to_string()].join("\u{1f}"));
    let categories = Data::default()
        .with_some("communication", row.number("communication"))
        .with_some("helpfulness", row.number("helpfulness"))
        .with_some("engagement", row.number("engagement"));
    let data = Data::default()
        .with_id("feedbackId", row.named("feedback", &name))
        .with_id("matchId", row.named("match", pair))
        .with("fromRole", role)
        .with_some("rating", row.number("rating"))
        .with_some("feedbackText", row.text("feedback_text"))
        .with_time("submittedAt", date)
        .with_some("categories", categories.into_object());
    Ok(row.event("buddy.feedback.submitted", &[&name], date, data))
}

fn course_completion(row: &Row<'_>) -> Result<Event, Refusal> {
    let user = row.person("user_email")?;
    let completed = row.need_time("completed_at")?;
    let enrolment = [&user.to_string(), row.need_text("provider")?, row.need_text("course_id")?];
    let data = Data::default()
        .with_id("progressId", row.id("progress", &enrolment))
        .with_id("userId", user)
        .with("provider", enrolment[1])
        .with("courseId", enrolment[2])
        .with("courseName", row.need_text("course_name")?)
        .with_time("completedAt", completed)
        .with_some("finalScore", row.number("final_score"))
        .with_some("credentialRef", row.text("credential_ref"));
    let identity = [enrolment[0], enrolment[1], enrolment[2], &completed.to_string()];
    Ok(row.event("upskilling.course.completed", &identity, completed, data))
}

fn credential(row: &Row<'_>) -> Result<Event, Refusal> {
    let name = row.need_text("credential_id")?;
    let issued = row.need_time("issued_at")?;
    let mut data = Data::default()
        .with_id("credentialId", row.named("credential", name))
        .with_id("userId", row.person("user_email")?)
        .with("provider", row.need_text("provider")?)
        .with("courseId", row.need_text("course_id")?)
        .with("courseName", row.need_text("course_name")?)
        .with("credentialType", row.need_text("credential_type")?)
        .with_time("issuedAt", issued);
    if let Some(expires) = row.time("expires_at") {
        data = data.with_time("expiresAt", expires);
    }
    let data = data
        .with_some("credentialUrl", row.text("credential_url"))
        .with_some("verificationCode", row.text("verification_code"));
    Ok(row.event("upskilling.credential.issued", &[name], issued, data))
}

fn volunteer_session(row: &Row<'_>) -> Result<Event, Refusal> {
    let (name, activity) = (row.need_text("session_id")?, row.need_text("activity_type")?);
    let date = row.need_time("session_date")?;
    let by_name = row.mapping.field("activity_kind").and_then(|field| field.choice(activity));
    let data = Data::default()
        .with("sourceSystem", "manual")
        .with("sourceId", name)
        .with("sourceTenantId", row.company())
        .with_id("userId", row.person("volunteer_email")?)
        .with("externalUserId", row.need_text("volunteer_id")?)
        .with("companyId", row.company())
        .with("activityName", activity)
        .with_some("activityDescription", row.text("description"))
        .with("activityType", row.text("activity_kind").or(by_name).unwrap_or("other"))
        .with_some("hoursLogged", row.number("hours_contributed"))
        .with_time("activityDate", date)
        .with_some("nonprofitName", row.text("ngo_name"))
        .with_some("nonprofitId", row.text("ngo_id"))
        .with_some("causeArea", row.text("impact_area"))
        .with_some("tags", row.list("skills_used"))
        .with("verified", json!(false));
    Ok(row.event("ingest.volunteer.logged", &[name], date, data))
}
