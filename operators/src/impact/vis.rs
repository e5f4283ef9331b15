//! The volunteer impact score: an index, not a measurement. `vis/1` is definition A; B, C and D are named variants.
//!
//! Never mixes definitions: each has its own function and bands. No state.

use super::{add, div, mul, share};
use headwater_core::{Error, Result};
use rust_decimal::{Decimal, MathematicalOps};

/// The version that rows computed by [`vis_a`] carry.
pub const FORMULA_VERSION: &str = "vis/1";
/// The version that volunteer scores computed by [`volunteer_c`] carry.
pub const VOLUNTEER_FORMULA_VERSION: &str = "volunteer/1";

fn not_negative(name: &str, value: Decimal) -> Result<Decimal> {
    if value < Decimal::ZERO { Err(Error::invalid(format!("{name} is not negative, but {value}"))) } else { Ok(value) }
}

/// Definition A, for a company and period, 0 to 100:
/// 100 · (0.30 · min(hours / 1000, 1) + 0.30 · quality + 0.25 · outcome lift + 0.15 · placement).
///
/// Quality is the mean of confidence, belonging, well-being and job readiness; outcome lift the share of participants
/// who improved; placement the share of the job-ready who found work.
pub fn vis_a(hours: Decimal, quality: Decimal, outcome_lift: Decimal, placement: Decimal) -> Result<Decimal> {
    let hours = not_negative("hours", hours)?.min(Decimal::from(1000));
    let parts = [
        (hours, Decimal::new(3, 2)),
        (share("quality", quality)?, Decimal::from(30)),
        (share("outcome_lift", outcome_lift)?, Decimal::from(25)),
        (share("placement", placement)?, Decimal::from(15)),
    ];
    parts.into_iter().try_fold(Decimal::ZERO, |total, (part, weight)| add(total, mul(part, weight)?))
}

/// Returns the band of definition A.
#[must_use]
pub fn band_a(score: Decimal) -> &'static str {
    band(score, &[(86, "Transformational"), (71, "Outstanding"), (51, "Excellent"), (31, "Good")], "Developing")
}

/// Definition B, used in reports, 0 to 100: 0.3 · min(100, hours) + 0.3 · consistency + 0.4 · outcome, where consistency is
/// 100, 75, 50 or 25 for at least 8, 4, 2 sessions a month or any, and outcome is (x − 0.1) / 0.9 · 100 from 0.1 on.
pub fn vis_b(hours: Decimal, sessions_per_month: Decimal, outcome: Decimal) -> Result<Decimal> {
    let hours = not_negative("hours", hours)?.min(Decimal::ONE_HUNDRED);
    let sessions = not_negative("sessions_per_month", sessions_per_month)?;
    let consistency = match sessions {
        n if n >= Decimal::from(8) => 100,
        n if n >= Decimal::from(4) => 75,
        n if n >= Decimal::TWO => 50,
        n if n > Decimal::ZERO => 25,
        _ => 0,
    };
    let floor = Decimal::new(1, 1);
    let outcome = (share("outcome", outcome)? - floor).max(Decimal::ZERO);
    let outcome = div(outcome * Decimal::ONE_HUNDRED, Decimal::new(9, 1))?;
    Ok(Decimal::new(3, 1) * (hours + Decimal::from(consistency)) + Decimal::new(4, 1) * outcome)
}

/// Returns the band of definition B.
#[must_use]
pub fn band_b(score: Decimal) -> &'static str {
    band(score, &[(76, "Exceptional"), (51, "High Impact"), (26, "Contributing")], "Emerging")
}

fn band(score: Decimal, bands: &[(i64, &'static str)], least: &'static str) -> &'static str {
    // Bands are printed in whole points, so a score is rounded to one before it is placed.
    let score = score.round();
    bands.iter().find(|(from, _)| score >= Decimal::from(*from)).map_or(least, |(_, name)| *name)
}

/// Returns the points of an activity in definition C. `None` for an activity that it does not know.
#[must_use]
pub fn points_c(activity: &str) -> Option<Decimal> {
    let points = match activity {
        "buddy.match.created" => 10,
        "buddy.event.attended" | "buddy.event.logged" => 5,
        "buddy.skill_share.completed" => 15,
        "buddy.feedback.submitted" => 8,
        "buddy.milestone.reached" => 20,
        "buddy.checkin.completed" => 3,
        "buddy.match.ended" => 0,
        _ => return None,
    };
    Some(Decimal::from(points))
}

/// Returns the share of its points that an activity keeps after some days: exp(−0.01 · days).
pub fn decay_c(days_ago: i64) -> Result<Decimal> {
    if days_ago < 0 {
        return Err(Error::invalid(format!("an activity was not {days_ago} days ago")));
    }
    // After 4,000 days less than 1e-17 is left; the series would only lose itself in rounding.
    if days_ago > 4_000 {
        return Ok(Decimal::ZERO);
    }
    // exp(-x) as 1 / exp(x): the series for a positive argument does not cancel.
    let grown =
        Decimal::new(days_ago, 2).checked_exp_with_tolerance(Decimal::new(1, 18)).ok_or_else(super::too_large)?;
    div(Decimal::ONE, grown)
}

/// Definition C, for a volunteer: Σ points · exp(−0.01 · days ago). Activities come as event type and days ago.
pub fn volunteer_c<'a>(activities: impl IntoIterator<Item = (&'a str, i64)>) -> Result<Decimal> {
    activities.into_iter().try_fold(Decimal::ZERO, |total, (activity, days_ago)| {
        let points = points_c(activity).ok_or_else(|| Error::invalid(format!("no points for '{activity}'")))?;
        add(total, mul(points, decay_c(days_ago)?)?)
    })
}

/// Returns the percentile of a place in a ranking of `n`, the best being place 0: (n − place) / n · 100.
pub fn percentile_c(place: u32, n: u32) -> Result<Decimal> {
    if place >= n {
        return Err(Error::invalid(format!("place {place} is not in a ranking of {n}")));
    }
    div(Decimal::from(n - place) * Decimal::ONE_HUNDRED, Decimal::from(n))
}

/// How a tenant weighs the four parts of definition D.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightsD {
    /// How often.
    pub frequency: Decimal,
    /// How long.
    pub duration: Decimal,
    /// With what skill.
    pub skills: Decimal,
    /// For how many.
    pub reach: Decimal,
}

impl WeightsD {
    /// Returns the weights of a volunteering style: `default`, `skills_based` or `time_based`.
    #[must_use]
    pub fn named(style: &str) -> Option<Self> {
        let [frequency, duration, skills, reach] = match style {
            "default" => [25, 20, 30, 25],
            "skills_based" => [20, 15, 40, 25],
            "time_based" => [25, 35, 15, 25],
            _ => return None,
        }
        .map(|hundredths| Decimal::new(hundredths, 2));
        Some(Self { frequency, duration, skills, reach })
    }
}

/// Returns the monthly decay of definition D: mentorship .95, language .93, buddy .90.
#[must_use]
pub fn monthly_decay_d(programme: &str) -> Option<Decimal> {
    let hundredths = match programme {
        "mentorship" => 95,
        "language" => 93,
        "buddy" => 90,
        _ => return None,
    };
    Some(Decimal::new(hundredths, 2))
}

/// Definition D, by a tenant's weights, 0 to 100. The parts are shares from 0 to 1 in the order of [`WeightsD`]; each month
/// that has passed keeps the share `monthly_decay`.
pub fn vis_d(parts: [Decimal; 4], weights: &WeightsD, monthly_decay: Decimal, months_ago: u32) -> Result<Decimal> {
    let weights = [weights.frequency, weights.duration, weights.skills, weights.reach];
    let mut score = Decimal::ZERO;
    for (part, weight) in parts.into_iter().zip(weights) {
        score = add(score, mul(share("a part", part)?, share("a weight", weight)?)?)?;
    }
    let kept = share("monthly_decay", monthly_decay)?.checked_powu(u64::from(months_ago)).unwrap_or(Decimal::ZERO);
    mul(mul(score, kept)?, Decimal::ONE_HUNDRED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn definition_a_of_the_worked_example_is_49_25() {
        let score = vis_a(d("150"), d("0.75"), d("0.65"), d("0.40")).unwrap();
        assert_eq!(score, d("49.25"));
        assert_eq!(band_a(score), "Good");
        assert_eq!(vis_a(d("1e20"), d("1"), d("1"), d("1")).unwrap(), d("100"));
        assert!(vis_a(d("-1"), d("1"), d("1"), d("1")).is_err() && vis_a(d("1"), d("1.2"), d("1"), d("1")).is_err());
    }

    #[test]
    fn definition_b_has_steps_and_a_floor() {
        assert_eq!(vis_b(d("250"), d("8"), d("1")).unwrap(), d("100"));
        assert_eq!(vis_b(d("50"), d("3"), d("0.05")).unwrap(), d("30"));
        assert_eq!(vis_b(d("0"), d("0"), d("0.55")).unwrap().round_dp(10), d("20"));
        assert_eq!((band_b(d("75.6")), band_b(d("25"))), ("Exceptional", "Emerging"));
    }

    #[test]
    fn definition_c_decays_as_printed() {
        for (days, kept) in [(0, "1"), (30, "0.7408"), (90, "0.4066"), (180, "0.1653"), (365, "0.0260")] {
            assert_eq!(decay_c(days).unwrap().round_dp(4), d(kept), "{days} days");
        }
        let score = volunteer_c([("buddy.match.created", 0), ("buddy.event.attended", 30), ("buddy.match.ended", 1)]);
        assert_eq!(score.unwrap().round_dp(3), d("13.704"));
        assert!(decay_c(-1).is_err() && decay_c(i64::MAX).is_ok() && decay_c(4_000).unwrap() < d("0.00000000000001"));
        assert_eq!(percentile_c(0, 4).unwrap(), d("100"));
        assert!(percentile_c(0, 0).is_err());
    }

    #[test]
    fn definition_d_weighs_by_style() {
        let weights = WeightsD::named("skills_based").unwrap();
        let now = vis_d([d("1"), d("0.5"), d("1"), d("0")], &weights, d("0.9"), 0).unwrap();
        assert_eq!(now, d("67.5"));
        assert_eq!(vis_d([d("1"); 4], &weights, d("0.9"), 2).unwrap(), d("81"));
        for style in ["default", "skills_based", "time_based"] {
            let w = WeightsD::named(style).unwrap();
            assert_eq!(w.frequency + w.duration + w.skills + w.reach, d("1"), "{style}");
        }
    }
}
