//! Serving until told to stop: requests that are being answered are finished, for a bounded time.

use axum::Router;
use headwater_core::{Error, Result};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long open requests are waited for after the stop: a little over their own timeout's default.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(35);

/// Answers requests until `shutdown` resolves, then finishes those that are open.
///
/// # Errors
/// `Unavailable` when the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let (stopping, stopped) = oneshot::channel();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        // Nobody listens any more when the server has already failed.
        let _ = stopping.send(());
    });
    let drained = async {
        if stopped.await.is_err() {
            // The server ended by itself; its branch below tells how.
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        // The server's own end first: when everything is answered in time nothing was cut.
        biased;
        result = server.into_future() => result.map_err(|error| Error::io("cannot serve", error)),
        () = drained => {
            tracing::warn!(seconds = DRAIN_TIMEOUT.as_secs(), "requests were still open and are cut off");
            Ok(())
        }
    }
}
