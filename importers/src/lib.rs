//! Programme exports (CSV) turned into contract events.
