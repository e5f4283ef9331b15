//! The stores Headwater writes to: SQLite, Parquet, files, standard output.
