//! The systems Headwater reads from: files, the durable inbox, generators.
