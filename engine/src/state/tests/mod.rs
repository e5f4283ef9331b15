//! Tests of stored state: what is read back is what a model says, and what is broken is found.

mod broken;
mod collected;
mod fixtures;
mod kept;
mod merged;
mod types;
