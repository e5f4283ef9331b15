//! The HTTP interface: ingest, imports, metrics, lineage, dead letters.
