//! The events by number. The crate draws an event from its number alone; a seed moves the numbers that it draws from,
//! and moves the ids back, so that every seed begins with the ids 1000. State: the crate's configuration.

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Event, EventType};

/// How many events make one round of persons, auctions and bids.
pub(super) const EVENTS_PER_ROUND: u64 = 50;
const PERSONS_PER_ROUND: u64 = 1;
const AUCTIONS_PER_ROUND: u64 = 3;
/// How far the seeds are apart. A multiple of 100, which is how many neighbours share a hot seller, auction or bidder.
const ROUNDS_PER_SEED: u64 = 10_000_000;
/// The first id of persons and auctions, and how many ids ahead of the newest one may be named: the crate's defaults.
const FIRST_ID: i64 = 1_000;
const ID_LEAD: i64 = 10;

/// What the events depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventOptions {
    pub(super) seed: u32,
    /// Events per second of event time.
    pub(super) rate: u32,
    /// The time of the first event in milliseconds since 1970, not negative.
    pub(super) base_time_ms: i64,
    /// How many neighbouring events are shuffled; 1 for none.
    pub(super) group_size: u32,
}

/// Draws events.
#[derive(Debug, Clone)]
pub(super) struct Events {
    generator: EventGenerator,
    group_size: u64,
    seed: u32,
}

impl Events {
    pub(super) fn new(options: EventOptions) -> Self {
        let rate = options.rate as usize;
        let config = NexmarkConfig {
            first_event_id: (u64::from(options.seed) * ROUNDS_PER_SEED * EVENTS_PER_ROUND) as usize,
            out_of_order_group_size: options.group_size as usize,
            base_time: options.base_time_ms.unsigned_abs(),
            first_rate: rate,
            next_rate: rate,
            // The default takes its `base_time` from the wall clock; ours stands in its place.
            ..NexmarkConfig::default()
        };
        let group_size = u64::from(options.group_size);
        Self { generator: EventGenerator::new(config), group_size, seed: options.seed }
    }

    /// Returns the kind of the event that comes at a place, without drawing it.
    pub(super) fn kind(&self, place: u64) -> EventType {
        match self.number(place) % EVENTS_PER_ROUND {
            offset if offset < PERSONS_PER_ROUND => EventType::Person,
            offset if offset < PERSONS_PER_ROUND + AUCTIONS_PER_ROUND => EventType::Auction,
            _ => EventType::Bid,
        }
    }

    /// Draws the events that come at these places.
    pub(super) fn draw(&self, places: &[u64]) -> Vec<Event> {
        let mut generator = self.generator.clone();
        let mut events = Vec::with_capacity(places.len());
        for place in places {
            generator = generator.with_offset(*place);
            let event = generator.next();
            events.extend(event.map(|event| self.moved_back(event, self.number(*place))));
        }
        events
    }

    /// Returns the number of the event that comes at a place: another one of its group where groups are shuffled. It is
    /// the crate's formula.
    fn number(&self, place: u64) -> u64 {
        place / self.group_size * self.group_size + place * 953 % self.group_size
    }

    /// Moves the ids of a seed back to the beginning. The crate names persons and auctions of a while ago; those that
    /// would come before the first become one that is there.
    fn moved_back(&self, mut event: Event, number: u64) -> Event {
        if self.seed == 0 {
            return event;
        }
        let rounds = u64::from(self.seed) * ROUNDS_PER_SEED;
        let round = (number / EVENTS_PER_ROUND) as i64;
        let person = Ids { moved: rounds * PERSONS_PER_ROUND, n_so_far: round + 1 };
        let auction = Ids { moved: rounds * AUCTIONS_PER_ROUND, n_so_far: (round + 1) * AUCTIONS_PER_ROUND as i64 };
        match &mut event {
            Event::Person(made) => made.id = person.back(made.id),
            Event::Auction(made) => {
                made.id = auction.back(made.id);
                made.seller = person.back(made.seller);
            }
            Event::Bid(made) => {
                made.auction = auction.back(made.auction);
                made.bidder = person.back(made.bidder);
            }
        }
        event
    }
}

/// The ids of one kind: how far a seed has moved them, and how many are given.
struct Ids {
    moved: u64,
    n_so_far: i64,
}

impl Ids {
    fn back(&self, id: usize) -> usize {
        let place = id as i64 - FIRST_ID - self.moved as i64;
        let place = if place < 0 { place.rem_euclid(self.n_so_far + ID_LEAD) } else { place };
        (place + FIRST_ID) as usize
    }
}
