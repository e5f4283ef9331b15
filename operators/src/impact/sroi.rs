//! Social return on investment, `sroi/2`: the value map of *A Guide to Social Return on Investment* (2012).
//!
//! ```text
//! impact_1 = quantity × proxy × (1 − deadweight) × (1 − displacement) × (1 − attribution to others)
//! impact_t = impact_1 × (1 − drop-off)^(t − 1)
//! PV       = Σ impact_t / (1 + r)^t          ratio = PV / investment
//! ```
//!
//! Never values outputs by itself, never states a ratio without an investment, and never rounds inside. No state; work
//! is bounded by [`DURATION_YEARS_MAX`] per row.

use super::{add, div, mul, share, sub};
use headwater_core::{Error, Result};
use rust_decimal::Decimal;

/// The version that rows computed by these formulas carry.
pub const FORMULA_VERSION: &str = "sroi/2";
/// The longest benefit period: beyond it nobody believes a forecast.
pub const DURATION_YEARS_MAX: u32 = 100;

/// Whether the first year is discounted. Published cases differ, so it is always stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiscountConvention {
    /// Year t is divided by (1 + r)^t: the Guide's convention.
    #[default]
    Year1Discounted,
    /// Year t is divided by (1 + r)^(t − 1).
    Year1Undiscounted,
}

impl DiscountConvention {
    /// Reads `year1_discounted` or `year1_undiscounted`.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "year1_discounted" => Ok(Self::Year1Discounted),
            "year1_undiscounted" => Ok(Self::Year1Undiscounted),
            other => Err(Error::invalid(format!("no discount convention '{other}'"))
                .with_help("use year1_discounted or year1_undiscounted")),
        }
    }
}

/// One row of a value map. Shares are from 0 to 1; `attribution` is the share due to others. A negative quantity or
/// proxy is a negative outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueRow {
    /// How much of the outcome.
    pub quantity: Decimal,
    /// What one unit is worth, per year.
    pub proxy: Decimal,
    /// What would have happened anyway.
    pub deadweight: Decimal,
    /// What was only moved from elsewhere.
    pub displacement: Decimal,
    /// What others brought about.
    pub attribution: Decimal,
    /// What is lost each following year.
    pub drop_off: Decimal,
    /// For how many years the outcome lasts, 1 to [`DURATION_YEARS_MAX`].
    pub duration_years: u32,
}

impl ValueRow {
    /// Returns the impact of the first year.
    pub fn first_year(&self) -> Result<Decimal> {
        let mut impact = mul(self.quantity, self.proxy)?;
        for (name, lost) in
            [("deadweight", self.deadweight), ("displacement", self.displacement), ("attribution", self.attribution)]
        {
            impact = mul(impact, Decimal::ONE - share(name, lost)?)?;
        }
        Ok(impact)
    }

    /// Returns the impact of each year.
    pub fn impacts(&self) -> Result<Vec<Decimal>> {
        if self.duration_years == 0 || self.duration_years > DURATION_YEARS_MAX {
            let years = self.duration_years;
            return Err(Error::invalid(format!("an outcome lasts 1 to {DURATION_YEARS_MAX} years, not {years}")));
        }
        let kept = Decimal::ONE - share("drop_off", self.drop_off)?;
        let mut impact = self.first_year()?;
        let mut impacts = Vec::with_capacity(self.duration_years as usize);
        for _ in 0..self.duration_years {
            impacts.push(impact);
            impact = mul(impact, kept)?;
        }
        Ok(impacts)
    }

    /// Returns the present value at a discount rate per year.
    pub fn present_value(&self, rate: Decimal, convention: DiscountConvention) -> Result<Decimal> {
        if rate <= Decimal::NEGATIVE_ONE {
            return Err(Error::invalid(format!("a discount rate is greater than -1, not {rate}")));
        }
        let step = add(Decimal::ONE, rate)?;
        let mut factor = match convention {
            DiscountConvention::Year1Discounted => step,
            DiscountConvention::Year1Undiscounted => Decimal::ONE,
        };
        let mut total = Decimal::ZERO;
        let impacts = self.impacts()?;
        let n_years = impacts.len();
        for (year, impact) in impacts.into_iter().enumerate() {
            total = add(total, div(impact, factor)?)?;
            if year + 1 < n_years {
                factor = mul(factor, step)?;
            }
        }
        Ok(total)
    }
}

/// How a value map is turned into one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// What was put in, greater than 0.
    pub investment: Decimal,
    /// The discount rate per year.
    pub discount_rate: Decimal,
    /// Whether the first year is discounted.
    pub convention: DiscountConvention,
}

/// The answer, unrounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sroi {
    /// The present value of all outcomes.
    pub present_value: Decimal,
    /// Present value per unit of investment.
    pub ratio: Decimal,
    /// The same, less the unit that was put in.
    pub net_ratio: Decimal,
    /// Present value less investment.
    pub net_present_value: Decimal,
    /// Months until the first year's impact has paid the investment back; `None` if it never does.
    pub payback_months: Option<Decimal>,
}

/// Returns the present value of a value map.
pub fn present_value(rows: &[ValueRow], rate: Decimal, convention: DiscountConvention) -> Result<Decimal> {
    rows.iter().try_fold(Decimal::ZERO, |total, row| add(total, row.present_value(rate, convention)?))
}

/// Returns present value per unit of investment. Refuses a ratio without an investment.
pub fn ratio(present_value: Decimal, investment: Decimal) -> Result<Decimal> {
    if investment <= Decimal::ZERO {
        return Err(Error::invalid("there is no ratio without an investment greater than 0"));
    }
    div(present_value, investment)
}

/// Evaluates a value map.
pub fn evaluate(rows: &[ValueRow], terms: &Terms) -> Result<Sroi> {
    let present_value = present_value(rows, terms.discount_rate, terms.convention)?;
    let ratio = ratio(present_value, terms.investment)?;
    let first_year = rows.iter().try_fold(Decimal::ZERO, |total, row| add(total, row.first_year()?))?;
    let payback_months = if first_year > Decimal::ZERO {
        Some(div(mul(terms.investment, Decimal::from(12))?, first_year)?)
    } else {
        None
    };
    Ok(Sroi {
        present_value,
        ratio,
        net_ratio: sub(ratio, Decimal::ONE)?,
        net_present_value: sub(present_value, terms.investment)?,
        payback_months,
    })
}

/// A share of the value map whose switch value can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// What would have happened anyway.
    Deadweight,
    /// What was only moved from elsewhere.
    Displacement,
    /// What others brought about.
    Attribution,
}

/// Returns the value of a factor, the same in all rows, at which the ratio is exactly 1. `None` if no share from 0 to 1
/// does it. Present value is linear in each factor, so the answer is closed: 1 − investment / PV(factor = 0).
pub fn switch_value(rows: &[ValueRow], factor: Factor, terms: &Terms) -> Result<Option<Decimal>> {
    let mut without = rows.to_vec();
    for row in &mut without {
        match factor {
            Factor::Deadweight => row.deadweight = Decimal::ZERO,
            Factor::Displacement => row.displacement = Decimal::ZERO,
            Factor::Attribution => row.attribution = Decimal::ZERO,
        }
    }
    let most = present_value(&without, terms.discount_rate, terms.convention)?;
    if terms.investment <= Decimal::ZERO || most < terms.investment {
        return Ok(None);
    }
    Ok(Some(sub(Decimal::ONE, div(terms.investment, most)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn row(quantity: &str, proxy: &str, shares: [&str; 4], duration_years: u32) -> ValueRow {
        let [deadweight, displacement, attribution, drop_off] = shares.map(d);
        let (quantity, proxy) = (d(quantity), d(proxy));
        ValueRow { quantity, proxy, deadweight, displacement, attribution, drop_off, duration_years }
    }

    fn terms(investment: &str, convention: DiscountConvention) -> Terms {
        Terms { investment: d(investment), discount_rate: d("0.035"), convention }
    }

    use DiscountConvention::{Year1Discounted, Year1Undiscounted};

    #[test]
    fn o1_a_published_evaluation() {
        let rows = [row("60", "8500", ["0.4", "0", "0.3", "0.3"], 2)];
        assert_eq!(rows[0].impacts().unwrap(), [d("214200"), d("149940")]);
        let undiscounted = evaluate(&rows, &terms("250000", Year1Undiscounted)).unwrap();
        assert_eq!(undiscounted.present_value.round_dp(2), d("359069.57"));
        assert_eq!((undiscounted.ratio.round_dp(4), undiscounted.ratio.round_dp(2)), (d("1.4363"), d("1.44")));
        let guide = evaluate(&rows, &terms("250000", Year1Discounted)).unwrap();
        assert_eq!(guide.present_value.round_dp(2), d("346927.12"));
        assert_eq!((guide.ratio.round_dp(4), guide.ratio.round_dp(2)), (d("1.3877"), d("1.39")));
    }

    #[test]
    fn o2_one_year_undiscounted() {
        let rows = [row("80", "1100", ["0.35", "0", "0.15", "0"], 1)];
        let answer = evaluate(&rows, &terms("60000", Year1Undiscounted)).unwrap();
        assert_eq!((answer.present_value, answer.ratio.round_dp(2)), (d("48620"), d("0.81")));
    }

    #[test]
    fn o3_a_published_ratio() {
        assert_eq!(ratio(d("281010"), d("55389")).unwrap().round_dp(2), d("5.07"));
    }

    #[test]
    fn o4_all_factors_at_once() {
        let rows = [row("100", "1000", ["0.2", "0.05", "0.3", "0.25"], 3)];
        assert_eq!(rows[0].impacts().unwrap(), [d("53200"), d("39900"), d("29925")]);
        let answer = evaluate(&rows, &terms("50000", Year1Discounted)).unwrap();
        assert_eq!(answer.present_value.round_dp(2), d("115638.68"));
        assert_eq!((answer.ratio.round_dp(4), answer.net_ratio.round_dp(4)), (d("2.3128"), d("1.3128")));
        assert_eq!(answer.payback_months.unwrap().round_dp(2), d("11.28"));
        let undiscounted = evaluate(&rows, &terms("50000", Year1Undiscounted)).unwrap();
        assert_eq!(undiscounted.present_value.round_dp(2), d("119686.03"));
        assert_eq!(undiscounted.ratio.round_dp(4), d("2.3937"));
        let switch = switch_value(&rows, Factor::Deadweight, &terms("50000", Year1Discounted)).unwrap().unwrap();
        assert_eq!((switch * d("100")).round_dp(2), d("65.41"));
    }

    #[test]
    fn wellbeing_points_are_worth_their_published_value() {
        let one = row("0.2", "13000", ["0"; 4], 1);
        assert_eq!(one.first_year().unwrap(), d("2600"));
        assert_eq!(row("0.2", "13000", ["0"; 4], 3).present_value(d("0"), Year1Discounted).unwrap(), d("7800"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(ratio(d("5"), d("0")).is_err() && ratio(d("5"), d("-1")).is_err());
        assert!(row("1", "1", ["1.1", "0", "0", "0"], 1).first_year().is_err());
        assert!(row("1", "1", ["0", "0", "0", "-0.1"], 1).impacts().is_err());
        assert!(row("1", "1", ["0"; 4], 0).impacts().is_err() && row("1", "1", ["0"; 4], 101).impacts().is_err());
        assert!(row("1", "1", ["0"; 4], 1).present_value(d("-1"), Year1Discounted).is_err());
        assert!(DiscountConvention::parse("whenever").is_err());
        let poor = [row("1", "1", ["0"; 4], 1)];
        assert_eq!(switch_value(&poor, Factor::Attribution, &terms("50", Year1Discounted)).unwrap(), None);
    }

    prop_compose! {
        fn shares()(cents in prop::array::uniform4(0i64..=100)) -> [Decimal; 4] { cents.map(|c| Decimal::new(c, 2)) }
    }

    prop_compose! {
        fn any_row()(quantity in -10_000i64..10_000, proxy in 0i64..2_000_000, s in shares(), years in 1u32..12) -> ValueRow {
            let (quantity, proxy) = (Decimal::new(quantity, 0), Decimal::new(proxy, 2));
            let [deadweight, displacement, attribution, drop_off] = s;
            ValueRow { quantity, proxy, deadweight, displacement, attribution, drop_off, duration_years: years }
        }
    }

    proptest! {
        #[test]
        fn doubling_the_investment_halves_the_ratio(row in any_row(), pounds in 1i64..1_000_000) {
            let once = terms(&pounds.to_string(), Year1Discounted);
            let twice = Terms { investment: once.investment * d("2"), ..once };
            let (once, twice) = (evaluate(&[row], &once).unwrap(), evaluate(&[row], &twice).unwrap());
            prop_assert!((once.ratio - twice.ratio * d("2")).abs() < d("0.000000000000001"));
        }

        #[test]
        fn nothing_is_left_of_what_would_have_happened_anyway(row in any_row()) {
            let row = ValueRow { deadweight: Decimal::ONE, ..row };
            prop_assert_eq!(row.present_value(d("0.035"), Year1Discounted).unwrap(), Decimal::ZERO);
        }

        #[test]
        fn the_order_of_factors_does_not_matter(row in any_row()) {
            let turned = ValueRow {
                deadweight: row.attribution, displacement: row.deadweight, attribution: row.displacement, ..row
            };
            prop_assert_eq!(row.first_year().unwrap(), turned.first_year().unwrap());
        }

        #[test]
        fn without_discounting_present_value_is_the_plain_sum(row in any_row()) {
            let sum: Decimal = row.impacts().unwrap().into_iter().sum();
            for convention in [Year1Discounted, Year1Undiscounted] {
                prop_assert_eq!(row.present_value(Decimal::ZERO, convention).unwrap(), sum);
            }
        }

        #[test]
        fn at_the_switch_value_the_ratio_is_one(row in any_row(), pounds in 1i64..100_000) {
            let terms = terms(&pounds.to_string(), Year1Discounted);
            if let Some(value) = switch_value(&[row], Factor::Attribution, &terms).unwrap() {
                let answer = evaluate(&[ValueRow { attribution: value, ..row }], &terms).unwrap();
                prop_assert!((answer.ratio - Decimal::ONE).abs() < d("0.000000000001"));
            }
        }

        #[test]
        fn extreme_values_give_an_answer_or_an_error(bits in prop::array::uniform8(any::<i128>()), scale in 0u32..28, years in any::<u32>()) {
            let number = |at: usize| Decimal::from_i128_with_scale(bits[at] >> 33, scale);
            let row = ValueRow {
                quantity: number(0), proxy: number(1), deadweight: number(2), displacement: number(3),
                attribution: number(4), drop_off: number(5), duration_years: years % 200,
            };
            let terms = Terms { investment: number(6), discount_rate: number(7), convention: Year1Discounted };
            let _ = (evaluate(&[row, row], &terms), switch_value(&[row], Factor::Deadweight, &terms));
            let calm = ValueRow {
                deadweight: Decimal::ZERO, displacement: Decimal::ZERO, attribution: Decimal::ZERO,
                drop_off: Decimal::ZERO, duration_years: 50, ..row
            };
            let _ = evaluate(&[calm, calm], &terms);
        }
    }
}
