//! Rules that assign windows to times: windows that tile, windows that hop, windows that grow.
//!
//! The windows of a rule cut the time line into panes: within a pane every time lies in the same windows. What follows
//! a rule may so compute once per pane. A rule never looks at rows; it is a few numbers and a time zone.

use crate::functions::calendar::{Calendar, Step};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Result, ScalarValue, plan_err};

/// `[start, end)` in nanoseconds.
pub(crate) type Window = (i64, i64);

const TIME: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);
/// In how many windows one time may lie: more is a mistake rather than a report.
const WINDOWS_MAX: i64 = 10_000;

/// Which windows there are.
#[derive(Debug, Clone)]
pub struct WindowRule {
    kind: Kind,
    /// Where windows start; of windows that grow, where they start anew.
    calendar: Calendar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tumble,
    /// Windows of this width.
    Hop(Step),
    /// Windows that end at every step.
    Cumulate(Step),
}

/// The windows of a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Located {
    /// All times in here lie in the same windows.
    pub(crate) pane: Window,
    /// The windows, the earliest first.
    pub(crate) windows: Vec<Window>,
}

impl WindowRule {
    /// Reads the constants that follow the time in a call of `tumble` (interval), `hop` (slide, width) or `cumulate`
    /// (step, greatest size), each with a time zone and an origin as they are wanted.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn from_constants(function: &str, constants: &[ScalarValue]) -> Result<Self> {
        let n_intervals = if function == "tumble" { 1 } else { 2 };
        let mut steps = Vec::with_capacity(n_intervals);
        for index in 0..n_intervals {
            steps.push(step_of(function, constants.get(index))?);
        }
        let zone = match constants.get(n_intervals) {
            None => None,
            Some(ScalarValue::Utf8(zone) | ScalarValue::Utf8View(zone) | ScalarValue::LargeUtf8(zone)) => {
                zone.as_deref()
            }
            Some(other) => return plan_err!("the time zone of {function} must be text, not {other:?}"),
        };
        let origin = match constants.get(n_intervals + 1) {
            None => None,
            Some(ScalarValue::TimestampNanosecond(origin, _)) => *origin,
            Some(other) => match other.cast_to(&TIME)? {
                ScalarValue::TimestampNanosecond(origin, _) => origin,
                other => return plan_err!("the origin of {function} must be a timestamp, not {other:?}"),
            },
        };
        let (kind, base) = match (function, steps.as_slice()) {
            ("hop", [Step::Nanos(_), Step::Months(_)]) => {
                // Starts within a day would end in another order: no month has every day.
                return plan_err!("{function} of months needs a slide of days or months");
            }
            // A local day has no fixed length, and starts within a day would end in another order where it changes.
            ("hop", [slide @ Step::Nanos(_), Step::Days(days)]) => {
                (Kind::Hop(Step::Nanos(days.saturating_mul(Calendar::DAY))), *slide)
            }
            ("hop", [slide, width]) => (Kind::Hop(*width), *slide),
            ("cumulate", [step, size]) => (Kind::Cumulate(*step), *size),
            (_, [interval, ..]) => (Kind::Tumble, *interval),
            _ => return plan_err!("{function} needs an interval"),
        };
        if let (Kind::Hop(long), short) | (Kind::Cumulate(short), long) = (kind, base) {
            if function == "cumulate" && nominal(short) > nominal(long) {
                return plan_err!("the step of {function} must not be longer than its greatest size");
            }
            if nominal(long) / nominal(short).max(1) > WINDOWS_MAX {
                return plan_err!("a row would be in more than {WINDOWS_MAX} windows of {function}");
            }
        }
        match Calendar::new(base, zone, origin) {
            Ok(calendar) => Ok(Self { kind, calendar }),
            Err(message) => plan_err!("{function}: {message}"),
        }
    }

    /// Returns the windows that hold a time.
    pub(crate) fn locate(&self, time: i64) -> Located {
        let base = self.calendar.window(time);
        match self.kind {
            Kind::Tumble => Located { pane: base, windows: vec![base] },
            Kind::Hop(width) => self.hop(base, width, time),
            Kind::Cumulate(step) => self.cumulate(base, step, time),
        }
    }

    /// Returns the window that a tumbling window is followed by.
    pub(crate) fn after(&self, window: Window) -> Window {
        self.calendar.window(window.1)
    }

    fn hop(&self, base: Window, width: Step, time: i64) -> Located {
        let mut pane = base;
        let mut windows = Vec::new();
        let mut start = base.0;
        loop {
            let end = self.calendar.advance(start, width, 1);
            if end <= time {
                // Windows that start earlier end no later.
                pane.0 = pane.0.max(end);
                break;
            }
            pane.1 = pane.1.min(end);
            windows.push((start, end));
            if start == i64::MIN {
                break;
            }
            start = self.calendar.window(start - 1).0;
        }
        windows.reverse();
        Located { pane, windows }
    }

    fn cumulate(&self, base: Window, step: Step, time: i64) -> Located {
        let end = |n: i64| self.calendar.advance(base.0, step, n).min(base.1);
        // Steps are never longer than this, so this many of them have passed at least.
        let mut n = (i128::from(time) - i128::from(base.0)).div_euclid(i128::from(longest(step).max(1)));
        n = n.clamp(0, i128::from(i64::MAX));
        let mut n = n as i64;
        while end(n + 1) <= time {
            n += 1;
        }
        let pane = (end(n), end(n + 1));
        let mut windows = vec![(base.0, pane.1)];
        while windows.last().is_some_and(|window| window.1 < base.1) {
            n += 1;
            windows.push((base.0, end(n + 1)));
        }
        Located { pane, windows }
    }
}

/// Reads an interval as a step.
fn step_of(function: &str, interval: Option<&ScalarValue>) -> Result<Step> {
    let (months, days, nanos) = match interval {
        Some(ScalarValue::IntervalMonthDayNano(Some(i))) => (i64::from(i.months), i64::from(i.days), i.nanoseconds),
        Some(ScalarValue::IntervalYearMonth(Some(months))) => (i64::from(*months), 0, 0),
        Some(ScalarValue::IntervalDayTime(Some(i))) => (0, i64::from(i.days), i64::from(i.milliseconds) * 1_000_000),
        other => return plan_err!("{function} needs an interval, not {other:?}"),
    };
    match (months, days, nanos) {
        (1.., 0, 0) => Ok(Step::Months(months)),
        (0, 1.., 0) => Ok(Step::Days(days)),
        (0, 0, 1..) => Ok(Step::Nanos(nanos)),
        (0, 1.., 1..) => match days.checked_mul(Calendar::DAY).and_then(|fixed| fixed.checked_add(nanos)) {
            Some(fixed) => Ok(Step::Nanos(fixed)),
            None => plan_err!("the interval of {function} is too long"),
        },
        (0, 0, 0) => plan_err!("the interval of {function} must not be empty"),
        (1.., ..) => plan_err!("{function} cannot mix months with days or shorter units in one interval"),
        _ => plan_err!("the interval of {function} must not be negative"),
    }
}

/// How long a step is, more or less.
fn nominal(step: Step) -> i64 {
    match step {
        Step::Months(n) => n.saturating_mul(30 * Calendar::DAY),
        Step::Days(n) => n.saturating_mul(Calendar::DAY),
        Step::Nanos(n) => n,
    }
}

/// How long a step is at most: clocks are set back by less than a day.
fn longest(step: Step) -> i64 {
    match step {
        Step::Months(n) => n.saturating_mul(32 * Calendar::DAY),
        Step::Days(n) => n.saturating_add(1).saturating_mul(Calendar::DAY),
        Step::Nanos(n) => n,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::IntervalMonthDayNano;
    use chrono::DateTime;
    use proptest::prelude::*;

    fn interval(step: Step) -> ScalarValue {
        let (months, days, nanos) = match step {
            Step::Months(n) => (n, 0, 0),
            Step::Days(n) => (0, n, 0),
            Step::Nanos(n) => (0, 0, n),
        };
        let interval = IntervalMonthDayNano::new(months as i32, days as i32, nanos);
        ScalarValue::IntervalMonthDayNano(Some(interval))
    }

    fn rule(function: &str, a: Step, b: Step, zone: &str) -> WindowRule {
        let constants = [interval(a), interval(b), ScalarValue::from(zone)];
        WindowRule::from_constants(function, &constants).expect("a rule")
    }

    fn nanos(text: &str) -> i64 {
        text.parse::<DateTime<chrono::Utc>>().expect("a time").timestamp_nanos_opt().expect("in range")
    }

    fn shown(rule: &WindowRule, time: &str) -> String {
        let text = |n| DateTime::from_timestamp_nanos(n).format("%Y-%m-%dT%H:%M").to_string();
        let Located { pane, windows } = rule.locate(nanos(time));
        let windows: Vec<String> = windows.iter().map(|(s, e)| format!("{}..{}", text(*s), text(*e))).collect();
        format!("{} in pane {}..{}", windows.join(" "), text(pane.0), text(pane.1))
    }

    #[test]
    fn a_time_is_in_every_window_that_has_not_ended() {
        let rule = rule("hop", Step::Nanos(4), Step::Nanos(10), "UTC");
        let located = |time| rule.locate(time);
        assert_eq!(located(8), Located { pane: (8, 10), windows: vec![(0, 10), (4, 14), (8, 18)] });
        assert_eq!(located(10), Located { pane: (10, 12), windows: vec![(4, 14), (8, 18)] });
        assert_eq!(located(-1), Located { pane: (-2, 0), windows: vec![(-8, 2), (-4, 6)] });
    }

    #[test]
    fn windows_that_are_shorter_than_their_slide_leave_gaps() {
        let rule = rule("hop", Step::Nanos(10), Step::Nanos(3), "UTC");
        assert_eq!(rule.locate(12), Located { pane: (10, 13), windows: vec![(10, 13)] });
        assert_eq!(rule.locate(13), Located { pane: (13, 20), windows: vec![] });
    }

    #[test]
    fn hops_follow_the_calendar() {
        let quarter_by_month = rule("hop", Step::Months(1), Step::Months(3), "Europe/Oslo");
        assert_eq!(
            shown(&quarter_by_month, "2026-03-31T22:30:00Z"),
            "2026-01-31T23:00..2026-04-30T22:00 2026-02-28T23:00..2026-05-31T22:00 2026-03-31T22:00..2026-06-30T22:00 \
             in pane 2026-03-31T22:00..2026-04-30T22:00"
        );
    }

    #[test]
    fn windows_that_grow_share_a_start_and_the_last_is_cut_off() {
        let rule = rule("cumulate", Step::Nanos(4), Step::Nanos(10), "UTC");
        assert_eq!(rule.locate(10), Located { pane: (10, 14), windows: vec![(10, 14), (10, 18), (10, 20)] });
        assert_eq!(rule.locate(19), Located { pane: (18, 20), windows: vec![(10, 20)] });
    }

    #[test]
    fn months_to_date_grow_by_days() {
        let rule = super::tests::rule("cumulate", Step::Days(10), Step::Months(1), "Europe/Oslo");
        assert_eq!(
            shown(&rule, "2026-03-29T12:00:00Z"),
            "2026-02-28T23:00..2026-03-30T22:00 2026-02-28T23:00..2026-03-31T22:00 \
             in pane 2026-03-20T23:00..2026-03-30T22:00"
        );
    }

    fn steps() -> impl Strategy<Value = (Step, Step)> {
        let of = |max: i64| {
            prop_oneof![
                (1..=max).prop_map(Step::Months),
                (1..=max * 30).prop_map(Step::Days),
                (1..=max * 700).prop_map(|hours| Step::Nanos(hours * 3_600_000_000_000)),
            ]
        };
        (of(3), of(6)).prop_filter("a time is in at most a few hundred windows", |(a, b)| {
            nominal(*b) / nominal(*a) < 300 && nominal(*a) / nominal(*b) < 300
        })
    }

    proptest! {
        #[test]
        fn every_time_of_a_pane_is_in_the_same_windows_and_no_window_cuts_a_pane(
            time in nanos("1990-01-01T00:00:00Z")..nanos("2040-01-01T00:00:00Z"),
            (a, b) in steps(),
            zone in prop::sample::select(vec!["UTC", "Europe/Oslo", "America/Havana", "Asia/Beirut", "Asia/Kolkata"]),
            cumulates in any::<bool>(),
        ) {
            prop_assume!(cumulates || !matches!((a, b), (Step::Nanos(_), Step::Months(_))));
            let (short, long) = if nominal(a) <= nominal(b) { (a, b) } else { (b, a) };
            let rule = if cumulates { rule("cumulate", short, long, zone) } else { rule("hop", a, b, zone) };
            let located = rule.locate(time);
            let Located { pane, windows } = &located;
            prop_assert!(pane.0 <= time && time < pane.1, "{time} {located:?}");
            prop_assert_eq!(&rule.locate(pane.0), &located);
            prop_assert_eq!(&rule.locate(pane.1 - 1), &located);
            prop_assert_ne!(rule.locate(pane.1).pane, *pane);
            for window in windows {
                prop_assert!(window.0 <= pane.0 && pane.1 <= window.1);
            }
            prop_assert!(windows.is_sorted_by_key(|window| window.1));
            prop_assert!(!cumulates || windows.last().is_some_and(|last| last.1 == rule.calendar.window(time).1));
        }
    }
}
