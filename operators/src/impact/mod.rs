//! The formulas of the domain, in decimal arithmetic: social return, volunteer impact, integration, hour values.
//!
//! They never touch a row, a stream or the clock: numbers in, numbers out, the same on every machine. Rounding is
//! half-even and happens at the edge only. Rates and proxies are dated data, never constants of a formula. A number
//! that does not fit (28 significant digits) is an error, never a panic and never a wrong number. No state.

pub mod integration;
pub mod rates;
pub mod sroi;
pub mod sroi_variants;
pub mod vis;

use headwater_core::{Error, Result};
use rust_decimal::Decimal;

/// Returns the error for a number that does not fit.
fn too_large() -> Error {
    Error::data("a number is too large for the formula")
}

fn mul(a: Decimal, b: Decimal) -> Result<Decimal> {
    a.checked_mul(b).ok_or_else(too_large)
}

fn add(a: Decimal, b: Decimal) -> Result<Decimal> {
    a.checked_add(b).ok_or_else(too_large)
}

fn sub(a: Decimal, b: Decimal) -> Result<Decimal> {
    a.checked_sub(b).ok_or_else(too_large)
}

fn div(a: Decimal, b: Decimal) -> Result<Decimal> {
    if b.is_zero() { Err(Error::invalid("a formula divides by zero")) } else { a.checked_div(b).ok_or_else(too_large) }
}

/// Refuses what is not a share from 0 to 1.
fn share(name: &str, value: Decimal) -> Result<Decimal> {
    if value < Decimal::ZERO || value > Decimal::ONE {
        return Err(Error::invalid(format!("{name} is a share from 0 to 1, not {value}")));
    }
    Ok(value)
}
