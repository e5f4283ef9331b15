//! The streaming operators and the typed impact operators.
