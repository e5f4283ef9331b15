//! The one source of chance of the generator: a seeded stream of numbers and the few ways it is drawn from.
//!
//! It never looks at the machine: the same seed and stream give the same draws everywhere. Its state is the cipher's
//! block, of fixed size.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A seeded stream of draws.
#[derive(Debug, Clone)]
pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    /// Makes the stream `stream` of a seed; different streams of one seed are independent.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Draws a number of `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high)
    }

    /// Draws an index below `n`, which is not zero.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// Returns true with the given probability in percent.
    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100_u32) < percent
    }

    /// Returns true with the given probability, which is clamped to 0..=1.
    pub(super) fn rate(&mut self, rate: f64) -> bool {
        self.0.random_bool(rate.clamp(0.0, 1.0))
    }

    /// Draws one of a list that is not empty.
    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Draws a version 4 UUID as text.
    pub(super) fn uuid(&mut self) -> String {
        let mut bytes = [0_u8; 16];
        self.0.fill(&mut bytes[..]);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// Draws `n` decimal digits, the first of which is not zero.
    pub(super) fn digits(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|place| self.0.random_range(u8::from(place == 0)..=9)).collect()
    }
}
