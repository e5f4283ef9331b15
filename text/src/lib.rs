//! Pure text analysis: normal form, language, outcome classification, personal data and safety screening.
//!
//! Everything here is a function of its arguments: the same text gives the same answer on every machine, in every
//! thread and on every run. It never reads a clock, a file, a stream or a network, and it keeps nothing of what it
//! saw. Every offset that leaves this package is a byte offset into the text that the caller gave.

pub mod classify;
mod language;
mod normalize;
mod offset_map;
mod phrases;
pub mod screen;

pub use classify::{Classification, Classifier, Dimension, Evidence, Label, classify};
pub use language::{Detected, Language, detect};
pub use normalize::{Normalized, normalize};
pub use offset_map::OffsetMap;
pub use screen::{
    Action, Finding, HarmCategory, POLICY_FILE, PiiKind, Policy, PolicyError, Screened, Screener, screen,
};
