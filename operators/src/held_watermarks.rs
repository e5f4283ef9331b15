//! Watermarks that wait for the barrier, because rows do and must not be overtaken. It keeps the newest time and the
//! newest letter; nothing else matters.

use headwater_core::{Output, Watermark};

/// Watermarks that have not been passed on.
#[derive(Debug, Default)]
pub(crate) struct HeldWatermarks(Vec<Watermark>);

impl HeldWatermarks {
    /// Keeps a watermark until the barrier.
    pub(crate) fn hold(&mut self, watermark: Watermark) {
        self.0.retain(|held| matches!((held, watermark), (Watermark::At(_), Watermark::Idle)));
        self.0.push(watermark);
    }

    /// Passes on what was held.
    pub(crate) fn release(&mut self, out: &mut Output) {
        for watermark in std::mem::take(&mut self.0) {
            out.watermark(watermark);
        }
    }
}
