//! The life of a pipeline, and the pipelines that Headwater ships.
