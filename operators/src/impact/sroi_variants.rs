//! The earlier definitions of social return, A to E, so that an old number can be reproduced. New numbers use `sroi/2`.
//!
//! Never improved: each keeps the faults of its original, which its comment names. Amounts come in by argument; what
//! were constants of the originals is in named tables here. No state.

use super::sroi::{DiscountConvention, ValueRow};
use super::{add, div, mul, share, sub};
use headwater_core::{Error, Result};
use rust_decimal::{Decimal, MathematicalOps, RoundingStrategy};

/// The versions that rows computed by definitions A to E carry, in order.
pub const FORMULA_VERSIONS: [&str; 5] = ["sroi-a/1", "sroi-b/1", "sroi-c/1", "sroi-d/1", "sroi-e/1"];

/// What definition A asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WageLift {
    /// How many people.
    pub participants: Decimal,
    /// What one earns more in a year; see [`wage_lift_a`].
    pub wage_lift: Decimal,
    /// The multiplier on everything, 1.5 in the original.
    pub multiplier: Decimal,
    /// For how many years, 3 in the original, at most 100.
    pub years: u32,
    /// The discount rate, 0.03 in the original.
    pub discount_rate: Decimal,
}

/// Returns the yearly wage lift that definition A assumed for a region; 15,000 where it knows none.
#[must_use]
pub fn wage_lift_a(region: &str) -> Decimal {
    Decimal::from(match region {
        "us-east" => 18_000,
        "us-west" => 22_000,
        "south" => 14_000,
        "canada" => 20_000,
        _ => 15_000,
    })
}

/// Definition A: the net present value of a wage lift, Σ participants · lift · multiplier / (1 + r)^y.
pub fn npv_a(case: &WageLift) -> Result<Decimal> {
    let row = ValueRow {
        quantity: mul(case.participants, case.multiplier)?,
        proxy: case.wage_lift,
        deadweight: Decimal::ZERO,
        displacement: Decimal::ZERO,
        attribution: Decimal::ZERO,
        drop_off: Decimal::ZERO,
        duration_years: case.years,
    };
    row.present_value(case.discount_rate, DiscountConvention::Year1Discounted)
}

/// Definition A: (NPV − cost) / cost, so that no participants give −1.
pub fn ratio_a(npv: Decimal, cost: Decimal) -> Result<Decimal> {
    if cost <= Decimal::ZERO {
        return Err(Error::invalid("there is no ratio without a cost greater than 0"));
    }
    div(sub(npv, cost)?, cost)
}

/// What definition B asks for. Improvements are differences of scores from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Improvements {
    /// Volunteer hours.
    pub hours: Decimal,
    /// What an hour is worth.
    pub hour_value: Decimal,
    /// What the programme cost.
    pub programme_cost: Decimal,
    /// The improvement of the integration score, worth 150 a point.
    pub integration: Decimal,
    /// The improvement of the language score, worth 500 a point.
    pub language: Decimal,
    /// The improvement of job readiness, worth 300 a point.
    pub job_readiness: Decimal,
    /// The confidence of the scores; below 0.7 the value counts for 0.8.
    pub confidence: Decimal,
}

/// Definition B: returns value, investment, and the ratio to 2 dp.
pub fn sroi_b(case: &Improvements) -> Result<(Decimal, Decimal, Decimal)> {
    let mut value = Decimal::ZERO;
    for (improvement, worth) in [(case.integration, 150), (case.language, 500), (case.job_readiness, 300)] {
        value = add(value, mul(improvement, Decimal::from(worth))?)?;
    }
    if case.confidence < Decimal::new(7, 1) {
        value = mul(value, Decimal::new(8, 1))?;
    }
    let investment = add(mul(case.hours, case.hour_value)?, case.programme_cost)?;
    let ratio = super::sroi::ratio(value, investment)?.round_dp(2);
    Ok((value, investment, ratio))
}

/// How often each activity of definition C happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActivityCounts {
    /// Matches, 10 points.
    pub matches: u32,
    /// Events, 5 points.
    pub events: u32,
    /// Skill shares, 15 points.
    pub skill_shares: u32,
    /// Feedback, 8 points.
    pub feedback: u32,
    /// Milestones, 20 points.
    pub milestones: u32,
    /// Check-ins, 3 points.
    pub checkins: u32,
}

/// Definition C: returns points, cost, the ratio to 4 dp and its confidence. It sets points against dollars, which is why
/// it is a variant. Cost is 1,500 a month, a month being each begun 30 days.
pub fn sroi_c(counts: &ActivityCounts, days: u32) -> Result<(Decimal, Decimal, Decimal, Decimal)> {
    let kinds = [
        (counts.matches, 10),
        (counts.events, 5),
        (counts.skill_shares, 15),
        (counts.feedback, 8),
        (counts.milestones, 20),
        (counts.checkins, 3),
    ];
    let points = kinds.iter().map(|(n, each)| Decimal::from(u64::from(*n) * each)).sum::<Decimal>();
    let cost = Decimal::from(1_500 * u64::from(days.div_ceil(30).max(1)));
    let n: u64 = kinds.iter().map(|(n, _)| u64::from(*n)).sum();
    let n_types = kinds.iter().filter(|(n, _)| *n > 0).count();
    let depth = div(Decimal::from(n + 1).checked_log10().ok_or_else(super::too_large)?, Decimal::from(3))?;
    let breadth = div(Decimal::new(3, 1) * Decimal::from(n_types), Decimal::from(6))?;
    let confidence = (depth.min(Decimal::new(7, 1)) + breadth).clamp(Decimal::new(1, 1), Decimal::ONE);
    Ok((points, cost, div(points, cost)?.round_dp(4), confidence))
}

/// Returns the band of a ratio of definition C.
#[must_use]
pub fn band_c(ratio: Decimal) -> &'static str {
    match ratio {
        r if r < Decimal::ONE => "poor",
        r if r < Decimal::TWO => "break-even",
        r if r < Decimal::from(4) => "good",
        r if r <= Decimal::TEN => "excellent",
        _ => "exceptional",
    }
}

/// Returns what one point of a dimension was worth to a tenant of a vertical in definition D.
#[must_use]
pub fn proxy_d(vertical: &str, dimension: &str) -> Option<Decimal> {
    let technology = vertical == "technology";
    let value = match (dimension, technology) {
        ("integration", true) => 12_000,
        ("integration", false) => 8_500,
        ("language", true) => 8_000,
        ("language", false) => 7_000,
        ("job_readiness", true) => 15_000,
        ("job_readiness", false) => 10_500,
        ("wellbeing", true) => 10_000,
        ("belonging", true) => 11_000,
        ("wellbeing" | "belonging", false) => 7_500,
        _ => return None,
    };
    Some(Decimal::from(value))
}

/// A tenant's calibration in definition D.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calibration {
    /// What would have happened anyway.
    pub deadweight: Decimal,
    /// The share that the programme claims for itself. The original did not say; this is the reading under which 0.85 is
    /// usual. The Guide's attribution is what is left, the share of others.
    pub attribution_claimed: Decimal,
    /// What is lost each following year.
    pub drop_off: Decimal,
    /// The discount rate, .03 to .04 by vertical.
    pub discount_rate: Decimal,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            deadweight: Decimal::new(1, 1),
            attribution_claimed: Decimal::new(85, 2),
            drop_off: Decimal::new(25, 2),
            discount_rate: Decimal::new(35, 3),
        }
    }
}

/// Definition D: the present value of improvements (points and worth of a point) over some years.
pub fn value_d(improvements: &[(Decimal, Decimal)], calibration: &Calibration, years: u32) -> Result<Decimal> {
    let others = Decimal::ONE - share("attribution_claimed", calibration.attribution_claimed)?;
    improvements.iter().try_fold(Decimal::ZERO, |total, (points, worth)| {
        let row = ValueRow {
            quantity: *points,
            proxy: *worth,
            deadweight: calibration.deadweight,
            displacement: Decimal::ZERO,
            attribution: others,
            drop_off: calibration.drop_off,
            duration_years: years,
        };
        add(total, row.present_value(calibration.discount_rate, DiscountConvention::Year1Discounted)?)
    })
}

/// Returns the points of an activity in definition E. `None` for one that a programme's template does not list.
#[must_use]
pub fn points_e(programme: &str, activity: &str) -> Option<u32> {
    let points = match (programme, activity) {
        ("mentorship", "session") => 10,
        ("mentorship", "milestone") => 25,
        ("mentorship", "goal") => 50,
        ("mentorship", "program_completed") => 100,
        ("mentorship", "mentee_employed") => 500,
        ("mentorship", "referral") => 15,
        ("language", "session") => 8,
        ("language", "cefr_level_advanced") => 50,
        ("language", "assessment") => 30,
        ("language", "vocab") => 5,
        ("language", "program") => 100,
        ("language", "cultural") => 20,
        ("buddy", "match") => 15,
        ("buddy", "event") => 8,
        ("buddy", "checkin") => 3,
        ("buddy", "skill_share") => 20,
        ("buddy", "milestone") => 25,
        ("buddy", "feedback_positive") => 5,
        ("buddy", "community_integration") => 100,
        _ => return None,
    };
    Some(points)
}

/// Definition E: the points of a programme's activities.
pub fn total_e<'a>(programme: &str, activities: impl IntoIterator<Item = (&'a str, u32)>) -> Result<Decimal> {
    activities.into_iter().try_fold(Decimal::ZERO, |total, (activity, n)| {
        let each = points_e(programme, activity)
            .ok_or_else(|| Error::invalid(format!("no points for '{activity}' in '{programme}'")))?;
        add(total, Decimal::from(u64::from(each) * u64::from(n)))
    })
}

/// Rounds an amount of money half-even to 2 dp, as all published amounts are.
#[must_use]
pub fn money(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(2, RoundingStrategy::MidpointNearestEven)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn o5_definition_a_recomputed() {
        let case = WageLift {
            participants: d("25"),
            wage_lift: wage_lift_a("midwest"),
            multiplier: d("1"),
            years: 3,
            discount_rate: d("0.03"),
        };
        assert_eq!(money(npv_a(&case).unwrap()), d("1060729.26"));
        let npv = npv_a(&WageLift { multiplier: d("1.5"), ..case }).unwrap();
        assert_eq!(money(npv), d("1591093.89"));
        assert_eq!(ratio_a(npv, d("100000")).unwrap().round_dp(2), d("14.91"));
        let nobody = npv_a(&WageLift { participants: d("0"), ..case }).unwrap();
        assert_eq!(ratio_a(nobody, d("100000")).unwrap(), d("-1"));
        assert!(ratio_a(npv, d("0")).is_err());
    }

    #[test]
    fn definition_b_of_both_examples() {
        let first = Improvements {
            hours: d("500"),
            hour_value: d("29.95"),
            programme_cost: d("5000"),
            integration: d("0.6"),
            language: d("0.4"),
            job_readiness: d("0.5"),
            confidence: d("0.85"),
        };
        assert_eq!(sroi_b(&first).unwrap(), (d("440"), d("19975"), d("0.02")));
        let second = Improvements {
            hours: d("100"),
            programme_cost: d("500"),
            integration: d("0.3"),
            language: d("0.5"),
            job_readiness: d("0.4"),
            ..first
        };
        assert_eq!(sroi_b(&second).unwrap(), (d("415"), d("3495"), d("0.12")));
        let unsure = Improvements { confidence: d("0.69"), ..first };
        assert_eq!(sroi_b(&unsure).unwrap().0, d("352"));
    }

    #[test]
    fn definition_c_of_the_example() {
        let counts =
            ActivityCounts { matches: 12, events: 40, skill_shares: 6, feedback: 30, milestones: 4, checkins: 80 };
        assert_eq!(sroi_c(&counts, 90).unwrap(), (d("970"), d("4500"), d("0.2156"), d("1")));
        let nothing = sroi_c(&ActivityCounts::default(), 0).unwrap();
        assert_eq!((nothing.0, nothing.1, nothing.3), (d("0"), d("1500"), d("0.1")));
        assert_eq!(
            ["0.9", "1", "3.99", "10", "10.1"].map(|r| band_c(d(r))),
            ["poor", "break-even", "good", "excellent", "exceptional"]
        );
    }

    #[test]
    fn definition_d_claims_a_share_and_leaves_the_rest_to_others() {
        let worth = proxy_d("technology", "language").unwrap();
        let calibration = Calibration { discount_rate: d("0"), ..Calibration::default() };
        assert_eq!(value_d(&[(d("1"), worth)], &calibration, 1).unwrap(), d("6120"));
        assert_eq!(value_d(&[(d("1"), worth)], &calibration, 2).unwrap(), d("10710"));
        assert_eq!(proxy_d("retail", "wellbeing"), Some(d("7500")));
    }

    #[test]
    fn definition_e_adds_points_of_known_activities_only() {
        assert_eq!(total_e("buddy", [("match", 1), ("event", 2), ("checkin", 3)]).unwrap(), d("40"));
        assert!(total_e("buddy", [("mentee_employed", 1)]).is_err());
    }
}
