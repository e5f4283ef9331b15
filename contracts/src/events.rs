//! The list of all contracts: one line for each, with the type that stands for it in Rust. It holds no state; the JSON
//! Schema files beside it are part of the program, and a type that has no file does not compile.

/// An event type as a Rust type, for builders that check at compile time what a stream carries.
pub trait Event: Send + Sync + 'static {
    /// The event type on the wire, which is also the name of its topic.
    const TYPE: &'static str;
}

/// An event that carries a text which somebody wrote.
pub trait HasText: Event {
    /// The column of that text.
    const TEXT_FIELD: &'static str;
}

/// An event that carries a rating from 0 to 1.
pub trait HasRating: Event {
    /// The column of that rating.
    const RATING_FIELD: &'static str;
}

/// What is known of a contract before its file is read.
pub(crate) struct Listed {
    pub(crate) event_type: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! contracts {
    ($($name:ident = $type:literal,)*) => {
        $(
            #[doc = concat!("The event `", $type, "`.")]
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub struct $name;

            impl Event for $name {
                const TYPE: &'static str = $type;
            }
        )*

        pub(crate) const LISTED: &[Listed] = &[
            $(Listed { event_type: $type, text: include_str!(concat!("../schemas/", $type, ".v1.json")) },)*
        ];
    };
}

macro_rules! capability {
    ($trait:ident, $constant:ident: $($name:ident = $column:literal,)*) => {
        $(impl $trait for $name { const $constant: &'static str = $column; })*

        #[cfg(test)]
        pub(crate) const $constant: &[(&str, &str)] = &[$((<$name as Event>::TYPE, $column),)*];
    };
}

/// The schema of what every event is wrapped in.
pub(crate) const ENVELOPE: &str = include_str!("../schemas/envelope.v1.json");

contracts! {
    BuddyMatchCreated = "buddy.match.created",
    BuddyMatchEnded = "buddy.match.ended",
    BuddyEventLogged = "buddy.event.logged",
    BuddyEventAttended = "buddy.event.attended",
    BuddySkillShareCompleted = "buddy.skill_share.completed",
    BuddyCheckinCompleted = "buddy.checkin.completed",
    BuddyFeedbackSubmitted = "buddy.feedback.submitted",
    BuddyMilestoneReached = "buddy.milestone.reached",
    KintellSessionScheduled = "kintell.session.scheduled",
    KintellSessionCompleted = "kintell.session.completed",
    KintellRatingCreated = "kintell.rating.created",
    UpskillingCourseCompleted = "upskilling.course.completed",
    UpskillingCredentialIssued = "upskilling.credential.issued",
    UpskillingProgressUpdated = "upskilling.progress.updated",
    OrchestrationJourneyMilestoneReached = "orchestration.journey.milestone.reached",
    OrchestrationProfileUpdated = "orchestration.profile.updated",
    SafetyFlagRaised = "safety.flag.raised",
    SafetyReviewCompleted = "safety.review.completed",
    NlqQueryStarted = "nlq.query.started",
    NlqQueryCompleted = "nlq.query.completed",
    NlqQueryFailed = "nlq.query.failed",
    NlqQueryRejected = "nlq.query.rejected",
    NlqCacheInvalidated = "nlq.cache.invalidated",
    ReportingCitationEdited = "reporting.citation.edited",
    ReportingRedactionCompleted = "reporting.redaction.completed",
    ReportingEvidenceGateViolation = "reporting.evidence_gate.violation",
    ExternalVolunteerLogged = "external.volunteer.logged",
    ExternalDonationMade = "external.donation.made",
    ExternalUserSynced = "external.user.synced",
    IngestVolunteerLogged = "ingest.volunteer.logged",
    IngestDonationMade = "ingest.donation.made",
    IngestDirectorySynced = "ingest.directory.synced",
    IngestEnrollmentCreated = "ingest.enrollment.created",
    IngestPlacementCreated = "ingest.placement.created",
}

capability! { HasText, TEXT_FIELD:
    BuddyMatchEnded = "reason_details",
    BuddyEventLogged = "description",
    BuddyCheckinCompleted = "notes",
    BuddyFeedbackSubmitted = "feedback_text",
    KintellRatingCreated = "feedback_text",
    SafetyReviewCompleted = "notes",
    IngestVolunteerLogged = "activity_description",
}

capability! { HasRating, RATING_FIELD:
    BuddyFeedbackSubmitted = "rating",
    KintellRatingCreated = "rating",
}
