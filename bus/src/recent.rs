//! The latest ids, a bounded number of them: who comes again within it is known.

use std::collections::{HashSet, VecDeque};

/// Ids in the order of their coming; the oldest are forgotten first.
pub(crate) struct Recent {
    n_max: usize,
    order: VecDeque<String>,
    known: HashSet<String>,
}

impl Recent {
    pub(crate) fn new(n_max: usize) -> Self {
        Self { n_max, order: VecDeque::new(), known: HashSet::new() }
    }

    /// Whether an id is among them.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.known.contains(id)
    }

    /// Adds an id.
    pub(crate) fn add(&mut self, id: String) {
        if !self.known.insert(id.clone()) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > self.n_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut recent = Recent::new(2);
        ["a", "b", "a", "c"].iter().for_each(|id| recent.add((*id).to_owned()));
        assert_eq!(["a", "b", "c"].map(|id| recent.knows(id)), [false, true, true]);
    }
}
