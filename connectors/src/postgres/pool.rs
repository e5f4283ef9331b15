//! A few connections to one server, used in turn and made anew when they broke. A connection is a client and the task
//! that serves it; the task ends with the pool. It never retries.

use super::address::{Address, Connection};
use headwater_core::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// What every connection is told: texts of values are in one form whatever the server's settings, and nothing is
/// written.
const SETTINGS: &str = "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
                        SET extra_float_digits = 1; SET bytea_output = 'hex'; SET default_transaction_read_only = on";

/// Connections to one server.
pub(super) struct Pool {
    address: Address,
    places: Vec<Mutex<Option<Arc<Connection>>>>,
    next: AtomicUsize,
}

/// One connection, while somebody asks something over it.
pub(super) struct Held(Arc<Connection>);

impl std::ops::Deref for Held {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0.client
    }
}

impl Pool {
    /// Makes a pool without connections.
    pub(super) fn new(address: Address, n_connections: usize) -> Self {
        let places = std::iter::repeat_with(Mutex::default).take(n_connections.max(1)).collect();
        Self { address, places, next: AtomicUsize::new(0) }
    }

    /// Returns the next connection that is open, or opens one.
    pub(super) async fn client(&self) -> Result<Held> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.places.len();
        let mut place = self.places[turn].lock().await;
        if let Some(connected) = place.as_ref().filter(|connected| !connected.client.is_closed()) {
            return Ok(Held(connected.clone()));
        }
        *place = None;
        let connected = Arc::new(self.address.connect(SETTINGS).await?);
        *place = Some(connected.clone());
        Ok(Held(connected))
    }
}
