//! Tests of the text analysis from outside: minimal pairs, screening, spans.

mod generated;
mod minimal_pairs;
mod screening;
mod spans;
