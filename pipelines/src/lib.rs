//! The life of a pipeline, and the pipelines that Headwater ships.
//!
//! [`shipped`] holds the SQL of the impact pipeline with its tables, [`migrations`] creates and upgrades the store it
//! writes to, [`Supervisor`] keeps a pipeline running and says how it is. It never knows HTTP or the planner: it sees
//! [`Planner`].

pub mod migrations;
pub mod shipped;
mod supervisor;

pub use supervisor::{Definition, RestartPolicy, State, Status, Supervisor, Watcher};

use headwater_core::{Graph, Result};

/// Turns the SQL of a pipeline into a graph.
pub trait Planner: Send + Sync {
    /// Plans a pipeline.
    ///
    /// # Errors
    /// `Invalid`, with line and column, when the SQL has a mistake.
    fn plan(&self, name: &str, sql: &str) -> Result<Graph>;
}
