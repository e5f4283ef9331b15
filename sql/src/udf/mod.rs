//! Functions of the user, in Rust: what a [`Planner`](crate::Planner) knows beside its own.
//!
//! A function is DataFusion's `ScalarUDF` or `AggregateUDF`, or a closure over typed values that is made into one. It
//! must be immutable: with the same arguments it gives the same result, always, because a result that cannot be
//! computed again cannot be taken back. It never replaces a function that is there already.
//!
//! ```
//! use headwater_sql::FunctionRegistry;
//!
//! let mut functions = FunctionRegistry::new();
//! functions.scalar("double_it", |number: i64| number * 2);
//! functions.scalar("initials", |name: String, dot: Option<bool>| {
//!     let end = if dot.unwrap_or(true) { "." } else { "" };
//!     name.split_whitespace().filter_map(|word| word.chars().next()).map(|c| format!("{c}{end}")).collect::<String>()
//! });
//! functions.aggregate("geometric_mean", |numbers: &[f64]| {
//!     let logarithms: f64 = numbers.iter().map(|number| number.ln()).sum();
//!     (!numbers.is_empty()).then(|| (logarithms / numbers.len() as f64).exp())
//! });
//! ```

mod aggregate;
mod scalar;
mod value;

pub use aggregate::AggregateFunction;
pub use scalar::ScalarFunction;
pub use value::{Argument, Output, SqlValue};

use crate::functions::Functions;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, Volatility};
use headwater_core::{Error, Result};
use std::sync::Arc;

/// Functions by which a planner's SQL is extended.
#[derive(Debug, Clone, Default)]
pub struct FunctionRegistry {
    scalars: Vec<Arc<ScalarUDF>>,
    aggregates: Vec<Arc<AggregateUDF>>,
}

impl FunctionRegistry {
    /// Makes a registry without functions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a scalar function made of a closure over one to four values.
    ///
    /// A null argument makes the result null, unless the closure takes an `Option`. A result may be an `Option`, and it
    /// may be a `Result` whose error is a `String`: then the row is a dead letter with that message.
    pub fn scalar<Arguments, F: ScalarFunction<Arguments>>(&mut self, name: &str, function: F) -> &mut Self {
        self.scalar_udf(scalar::udf(name, function))
    }

    /// Adds an aggregate function made of a closure over the values of a group, in no particular order.
    ///
    /// Nulls are left out, and the values are kept as long as the group; a function that can do with less should be an
    /// `AggregateUDF` with an accumulator of its own. Corrections are no concern of the closure: it is called with the
    /// values that are there.
    pub fn aggregate<Value, F: AggregateFunction<Value>>(&mut self, name: &str, function: F) -> &mut Self {
        self.aggregate_udf(aggregate::udf(name, function))
    }

    /// Adds a scalar function of DataFusion.
    pub fn scalar_udf(&mut self, function: ScalarUDF) -> &mut Self {
        self.scalars.push(Arc::new(function));
        self
    }

    /// Adds an aggregate function of DataFusion.
    ///
    /// Over an append-only input its accumulator is updated and asked for its value again and again. Over changes the
    /// engine keeps the rows of each group and gives those that are there to a new accumulator, so `retract_batch` is
    /// not needed.
    pub fn aggregate_udf(&mut self, function: AggregateUDF) -> &mut Self {
        self.aggregates.push(Arc::new(function));
        self
    }

    /// Adds the functions to those that are known.
    pub(crate) fn extend(&self, functions: &mut Functions) -> Result<()> {
        for function in &self.scalars {
            let names = checked(function.name(), function.aliases(), function.signature().volatility, functions)?;
            functions.scalar.extend(names.into_iter().map(|name| (name, function.clone())));
        }
        for function in &self.aggregates {
            let names = checked(function.name(), function.aliases(), function.signature().volatility, functions)?;
            functions.aggregate.extend(names.into_iter().map(|name| (name, function.clone())));
        }
        Ok(())
    }
}

fn checked(name: &str, aliases: &[String], volatility: Volatility, functions: &Functions) -> Result<Vec<String>> {
    if volatility != Volatility::Immutable {
        let error = Error::invalid(format!("the function '{name}' is {volatility:?}, not Immutable"));
        return Err(error.with_help("make it depend on its arguments alone: another result could not be corrected"));
    }
    let names: Vec<String> =
        std::iter::once(name).chain(aliases.iter().map(String::as_str)).map(str::to_owned).collect();
    for name in &names {
        if *name != name.to_lowercase() {
            let error = Error::invalid(format!("the function '{name}' could not be called: SQL folds names"));
            return Err(error.with_help(format!("call it '{}'", name.to_lowercase())));
        }
        if functions.is_known(name) {
            let error = Error::invalid(format!("there is a function '{name}' already"));
            return Err(error.with_help("give yours another name"));
        }
    }
    Ok(names)
}
