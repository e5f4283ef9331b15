//! A few connections to one server, used in turn and made anew when they broke. A connection is a client and the task
//! that serves it; the task ends with the pool. It never retries.

use super::failure::failure;
use headwater_core::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls};

/// What every connection is told: texts of values are in one form whatever the server's settings, and nothing is
/// written.
const SETTINGS: &str = "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
                        SET extra_float_digits = 1; SET bytea_output = 'hex'; SET default_transaction_read_only = on";

/// Connections to one server.
pub(super) struct Pool {
    config: Config,
    server: String,
    places: Vec<Mutex<Option<Connected>>>,
    next: AtomicUsize,
}

struct Connected {
    client: Arc<Client>,
    /// Serves the client; dropping it closes the connection.
    _service: JoinSet<()>,
}

impl Pool {
    /// Makes a pool without connections.
    pub(super) fn new(config: Config, server: String, n_connections: usize) -> Self {
        let places = std::iter::repeat_with(Mutex::default).take(n_connections.max(1)).collect();
        Self { config, server, places, next: AtomicUsize::new(0) }
    }

    /// Returns the next connection that is open, or opens one.
    pub(super) async fn client(&self) -> Result<Arc<Client>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.places.len();
        let mut place = self.places[turn].lock().await;
        if let Some(connected) = place.as_ref().filter(|connected| !connected.client.is_closed()) {
            return Ok(connected.client.clone());
        }
        *place = None;
        let (client, connection) = self.config.connect(NoTls).await.map_err(|e| failure(&self.server, &e))?;
        let mut service = JoinSet::new();
        let server = self.server.clone();
        service.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, server, "the connection to postgresql ended");
            }
        });
        client.batch_execute(SETTINGS).await.map_err(|e| failure(&self.server, &e))?;
        let client = Arc::new(client);
        *place = Some(Connected { client: client.clone(), _service: service });
        Ok(client)
    }
}
