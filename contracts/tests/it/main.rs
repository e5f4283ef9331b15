//! What callers of the contracts rely on, through the public API only. Inputs are generated; there is no state.

mod decode;
mod documents;
mod generate;
