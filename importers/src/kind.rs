//! The kinds of files that can be imported. A plain list without state.

use headwater_core::{Error, Result};
use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal -> $topic:literal,)*) => {
        /// A kind of programme export.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum Kind { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name, as on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the main topic: that of the event which every row becomes.
            #[must_use]
            pub fn topic(self) -> &'static str {
                match self { $(Self::$variant => $topic,)* }
            }

            /// Returns the column mapping that comes with the program.
            pub(crate) fn embedded_mapping(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("../mappings/", $name, ".toml")),)* }
            }
        }
    };
}

kinds! {
    /// Kintell sessions with rating and feedback in one row.
    Kintell = "kintell" -> "kintell.session.completed",
    /// Mentorship sessions.
    Mentorship = "mentorship" -> "kintell.session.completed",
    /// Language sessions.
    Language = "language" -> "kintell.session.completed",
    /// Matches of participants and buddies.
    BuddyMatches = "buddy-matches" -> "buddy.match.created",
    /// What pairs did together.
    BuddyEvents = "buddy-events" -> "buddy.event.logged",
    /// How matches are going.
    BuddyCheckins = "buddy-checkins" -> "buddy.checkin.completed",
    /// Ratings of matches.
    BuddyFeedback = "buddy-feedback" -> "buddy.feedback.submitted",
    /// Courses that were finished.
    CourseCompletions = "course-completions" -> "upskilling.course.completed",
    /// Credentials that were issued.
    Credentials = "credentials" -> "upskilling.credential.issued",
    /// Volunteer sessions.
    Sessions = "sessions" -> "ingest.volunteer.logged",
}

impl Kind {
    /// Returns the kind with this name.
    ///
    /// # Errors
    /// `Invalid`, with the names there are.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            Error::invalid(format!("'{name}' is no kind of import"))
                .with_help(format!("use one of: {}", names.join(", ")))
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
