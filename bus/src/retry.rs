//! Asks again what was unavailable: after pauses that double, with chance in them, a bounded number of times.

use headwater_core::{ErrorKind, Result};
use std::future::Future;
use std::time::Duration;
use uuid::Uuid;

/// How often something is asked: with the pauses below, for about half a minute.
const TRIES_MAX: u32 = 10;
/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Returns the pause after a number of failures: from a half of it to all of it, by chance.
pub(crate) fn pause(n_failures: u32) -> Duration {
    let full = PAUSE_MIN.saturating_mul(1 << n_failures.saturating_sub(1).min(16)).min(PAUSE_MAX);
    let chance = u32::try_from(Uuid::new_v4().as_u128() % 1000).unwrap_or_default();
    full / 2 + full * chance / 2000
}

/// Tries until it succeeds, fails for good, or was tried too often.
pub(crate) async fn with_retries<T, F: Future<Output = Result<T>>>(mut call: impl FnMut() -> F) -> Result<T> {
    let mut n_failures = 0;
    loop {
        match call().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                n_failures += 1;
                if n_failures >= TRIES_MAX {
                    return Err(error.at(format!("gave up after {n_failures} tries")));
                }
                let pause = pause(n_failures);
                tracing::warn!(%error, n_failures, ?pause, "unavailable, trying again");
                tokio::time::sleep(pause).await;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Error;

    #[tokio::test(start_paused = true)]
    async fn what_is_unavailable_is_asked_again_and_what_is_wrong_is_not() {
        let mut n = 0;
        let result = with_retries(|| {
            n += 1;
            std::future::ready(if n < 4 { Err(Error::unavailable("away")) } else { Ok(n) })
        });
        assert_eq!(result.await.expect("is there at last"), 4);
        let mut n = 0;
        let result: Result<()> = with_retries(|| {
            n += 1;
            std::future::ready(Err(Error::unavailable("away")))
        })
        .await;
        assert_eq!(result.expect_err("is away").to_string(), "gave up after 10 tries: away");
        assert_eq!(n, 10);
        let result: Result<()> = with_retries(|| std::future::ready(Err(Error::invalid("wrong")))).await;
        assert_eq!(result.expect_err("is wrong").to_string(), "wrong");
    }
}
