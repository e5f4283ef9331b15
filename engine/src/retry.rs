//! The pauses between tries. Components only say that something is unavailable; the engine decides when to ask again.
//!
//! Its state is the number of failures in a row and the chance for the pauses. It never sleeps itself.

use crate::RetryPolicy;
use headwater_core::{Error, ErrorKind, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// Counts failures in a row and names the pause after each.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: RetryPolicy,
    failures: u32,
    chance: ChaCha8Rng,
}

impl Backoff {
    /// Makes the backoff of one task; tasks get different pauses from one seed.
    pub(crate) fn new(policy: &RetryPolicy, task: usize) -> Self {
        let seed = policy.seed.wrapping_add((task as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { policy: policy.clone(), failures: 0, chance: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Notes that a try succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Notes that a try failed and returns the pause before the next one.
    ///
    /// # Errors
    /// The error itself when trying again does not help, or has not helped often enough.
    pub(crate) fn failed(&mut self, error: Error) -> Result<Duration> {
        match error.kind() {
            ErrorKind::Unavailable => {}
            ErrorKind::Invalid | ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Data | ErrorKind::Internal => {
                return Err(error);
            }
        }
        self.failures += 1;
        if self.failures >= self.policy.tries {
            return Err(error.at(format!("gave up after {} tries", self.failures)));
        }
        let doublings = (self.failures - 1).min(31);
        let pause = self.policy.base.saturating_mul(1 << doublings).min(self.policy.max);
        let pause = pause.mul_f64(self.chance.random_range(0.5..=1.0));
        tracing::warn!(%error, failures = self.failures, ?pause, "unavailable, trying again");
        Ok(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(seed: u64, task: usize) -> Vec<Duration> {
        let policy = RetryPolicy { tries: 12, seed, ..RetryPolicy::default() };
        let mut backoff = Backoff::new(&policy, task);
        std::iter::from_fn(|| backoff.failed(Error::unavailable("closed")).ok()).collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_then_it_gives_up() {
        let pauses = pauses(1, 0);
        assert_eq!(pauses.len(), 11);
        for (n, pause) in (0_u32..).zip(&pauses) {
            let full = Duration::from_millis(100 * 2_u64.pow(n)).min(Duration::from_secs(10));
            assert!(*pause >= full / 2 && *pause <= full, "pause {n} is {pause:?} of {full:?}");
        }
    }

    #[test]
    fn chance_comes_from_the_seed_and_the_task() {
        assert_eq!(pauses(1, 0), pauses(1, 0));
        assert_ne!(pauses(1, 0), pauses(1, 1));
        assert_ne!(pauses(1, 0), pauses(2, 0));
    }

    #[test]
    fn a_success_starts_anew_and_other_errors_are_final() {
        let mut backoff = Backoff::new(&RetryPolicy { tries: 2, ..RetryPolicy::default() }, 0);
        backoff.failed(Error::unavailable("closed")).unwrap();
        backoff.succeeded();
        backoff.failed(Error::unavailable("closed")).unwrap();
        let error = backoff.failed(Error::unavailable("closed")).unwrap_err();
        assert_eq!(error.to_string(), "gave up after 2 tries: closed");
        backoff.succeeded();
        assert_eq!(backoff.failed(Error::data("torn")).unwrap_err().to_string(), "torn");
    }
}
