//! The closed vocabulary: labels, their families, and the five dimensions.
//!
//! Never holds a phrase; those are data (`data/lexicon.*.toml`). Stateless.

/// A dimension of change, scored from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// Trust in oneself.
    Confidence,
    /// Being part of something.
    Belonging,
    /// A proxy for the level of a language, never a measurement of it.
    LangLevelProxy,
    /// How near a person is to work.
    JobReadiness,
    /// How a person is.
    WellBeing,
}

impl Dimension {
    /// Returns the name used in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Confidence => "confidence",
            Self::Belonging => "belonging",
            Self::LangLevelProxy => "lang_level_proxy",
            Self::JobReadiness => "job_readiness",
            Self::WellBeing => "well_being",
        }
    }
}

/// Labels of one family compete for the same words: the longer phrase wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Confidence,
    Belonging,
    Language,
    Signal,
    Risk,
    Topic,
}

macro_rules! labels {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $family:ident;)*) => {
        /// What a sentence can be evidence of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Label { $($(#[$doc])* $variant,)* }

        impl Label {
            /// All labels.
            pub const ALL: [Self; 29] = [$(Self::$variant,)*];

            /// Returns the name used in tables and lexicon files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub(crate) fn family(self) -> Family {
                match self { $(Self::$variant => Family::$family,)* }
            }
        }
    };
}

labels! {
    /// More trust in oneself.
    ConfidenceIncrease => "confidence_increase", Confidence;
    /// Less trust in oneself.
    ConfidenceDecrease => "confidence_decrease", Confidence;
    /// More at home.
    BelongingIncrease => "belonging_increase", Belonging;
    /// Less at home.
    BelongingDecrease => "belonging_decrease", Belonging;
    /// Uncomfortable in the language, about A1 to A2.
    LanguageComfortLow => "language_comfort_low", Language;
    /// Gets by in the language, about B1 to B2.
    LanguageComfortMedium => "language_comfort_medium", Language;
    /// At ease in the language, about C1 to C2.
    LanguageComfortHigh => "language_comfort_high", Language;
    /// Looks for work.
    JobSearch => "job_search", Signal;
    /// Has learnt something useful for work.
    SkillsGained => "skills_gained", Signal;
    /// Makes contacts.
    Networking => "networking", Signal;
    /// Works on a CV.
    ResumeImprovement => "resume_improvement", Signal;
    /// Prepares for interviews.
    InterviewPrep => "interview_prep", Signal;
    /// Earns certificates.
    Certification => "certification", Signal;
    /// Builds work to show.
    PortfolioBuilding => "portfolio_building", Signal;
    /// Plans a career.
    CareerGoalSetting => "career_goal_setting", Signal;
    /// Alone.
    Isolation => "isolation", Risk;
    /// Frustrated.
    Frustration => "frustration", Risk;
    /// Losing interest.
    Disengagement => "disengagement", Risk;
    /// Anxious.
    Anxiety => "anxiety", Risk;
    /// Thinks of leaving the programme.
    DropoutIndication => "dropout_indication", Risk;
    /// Confused.
    Confusion => "confusion", Risk;
    /// Speaks badly of oneself.
    NegativeSelfTalk => "negative_self_talk", Risk;
    /// Left without help.
    LackOfSupport => "lack_of_support", Risk;
    /// Mentions a CV.
    TopicCv => "topic_cv", Topic;
    /// Mentions an interview.
    TopicInterview => "topic_interview", Topic;
    /// Mentions project or product management.
    TopicPm => "topic_pm", Topic;
    /// Mentions software development.
    TopicDev => "topic_dev", Topic;
    /// Mentions networking.
    TopicNetworking => "topic_networking", Topic;
    /// Mentions mentoring.
    TopicMentorship => "topic_mentorship", Topic;
}

impl Label {
    /// Returns the label of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.name() == name)
    }

    /// Returns whether it is one of the eight signs of employability.
    #[must_use]
    pub fn is_signal(self) -> bool {
        self.family() == Family::Signal
    }

    /// Returns whether it is one of the eight signs of risk.
    #[must_use]
    pub fn is_risk(self) -> bool {
        self.family() == Family::Risk
    }

    /// Returns what remains when the phrase is denied: "not confident" speaks of a decrease, "not afraid" of nothing.
    pub(crate) fn denied(self) -> Option<Self> {
        match self {
            Self::ConfidenceIncrease => Some(Self::ConfidenceDecrease),
            Self::BelongingIncrease => Some(Self::BelongingDecrease),
            Self::LanguageComfortHigh | Self::LanguageComfortMedium => Some(Self::LanguageComfortLow),
            label if label.family() == Family::Topic => Some(label),
            _ => None,
        }
    }

    /// Returns what remains when the phrase no longer holds: "no longer unsure" speaks of an increase.
    pub(crate) fn over(self) -> Option<Self> {
        match self {
            Self::ConfidenceDecrease => Some(Self::ConfidenceIncrease),
            Self::BelongingDecrease => Some(Self::BelongingIncrease),
            Self::LanguageComfortLow => Some(Self::LanguageComfortMedium),
            label => label.denied(),
        }
    }
}
