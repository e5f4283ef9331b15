//! Runs a graph: channels, barrier alignment, the three task loops, epochs.
