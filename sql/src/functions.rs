//! The functions that SQL may call: DataFusion's, and those of `operators`. Functions whose result depends on when they
//! run are left out, because a retraction could not repeat them. The state is a table of names, filled once.

use crate::as_of::{MATCH, MatchMark};
use crate::calls::EXPANDED;
use crate::json::{self, JsonOperators};
use crate::versions::{AS_OF, AsOfMark};
use crate::windows::{FUNCTIONS, SESSION, Written};
use datafusion::config::ConfigOptions;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, Volatility, WindowUDF};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Other names of functions, as Flink, Spark and MySQL have them.
const ALIASES: &[(&str, &str)] = &[
    ("ceiling", "ceil"),
    ("truncate", "trunc"),
    ("lcase", "lower"),
    ("ucase", "upper"),
    ("startswith", "starts_with"),
    ("endswith", "ends_with"),
    ("regexp", "regexp_like"),
    ("array_contains", "array_has"),
    ("array_size", "array_length"),
];

/// The same for aggregate functions.
const AGGREGATE_ALIASES: &[(&str, &str)] = &[
    ("every", "bool_and"),
    ("listagg", "string_agg"),
    ("collect", "array_agg"),
    ("approx_count_distinct", "approx_distinct"),
];

/// Functions by name and alias.
pub(crate) struct Functions {
    pub(crate) scalar: BTreeMap<String, Arc<ScalarUDF>>,
    /// What computes the functions that give rows windows.
    pub(crate) windows: BTreeMap<&'static str, Arc<ScalarUDF>>,
    pub(crate) aggregate: BTreeMap<String, Arc<AggregateUDF>>,
    pub(crate) higher_order: BTreeMap<String, Arc<HigherOrderUDF>>,
    pub(crate) window: BTreeMap<String, Arc<WindowUDF>>,
    /// Functions that exist, but have another value at each call.
    pub(crate) unrepeatable: Vec<String>,
    /// Functions that cost more than a column: what two steps call alike is computed once.
    pub(crate) costly: BTreeSet<String>,
    pub(crate) planners: Vec<Arc<dyn ExprPlanner>>,
    pub(crate) config: Arc<ConfigOptions>,
}

impl Functions {
    /// Collects DataFusion's functions and `own`, which replace those of the same name.
    pub(crate) fn new(own: Vec<Arc<ScalarUDF>>) -> Self {
        let costly = own
            .iter()
            .map(|function| function.name().to_owned())
            .filter(|name| window_function(name).is_none())
            .collect();
        let mut scalar = BTreeMap::new();
        let mut unrepeatable = Vec::new();
        let mut windows = BTreeMap::new();
        for function in SessionStateDefaults::default_scalar_functions().into_iter().chain(own) {
            let repeatable = function.signature().volatility == Volatility::Immutable;
            let function = match window_function(function.name()) {
                Some(name) => {
                    windows.insert(name, function.clone());
                    Arc::new(ScalarUDF::new_from_impl(Written::new(name, Some(function))))
                }
                None => function,
            };
            for name in names(function.name(), function.aliases()) {
                if repeatable {
                    scalar.insert(name, function.clone());
                } else {
                    unrepeatable.push(name);
                }
            }
        }
        scalar.insert(AS_OF.to_owned(), Arc::new(ScalarUDF::new_from_impl(AsOfMark::new())));
        let session = ScalarUDF::new_from_impl(Written::new(SESSION, None));
        scalar.insert(SESSION.to_owned(), Arc::new(session));
        for (name, function) in crate::now::functions() {
            unrepeatable.retain(|other| *other != name);
            scalar.insert(name, function);
        }
        scalar.extend(json::functions());
        add_aliases(&mut scalar, ALIASES);
        for (alias, name) in ALIASES {
            if let Some(function) = scalar.get(*name).cloned() {
                scalar.entry((*alias).to_owned()).or_insert(function);
            }
        }
        scalar.insert(MATCH.to_owned(), Arc::new(ScalarUDF::new_from_impl(MatchMark::new())));
        let mut aggregate = BTreeMap::new();
        for function in SessionStateDefaults::default_aggregate_functions() {
            aggregate.extend(names(function.name(), function.aliases()).map(|name| (name, function.clone())));
        }
        add_aliases(&mut aggregate, AGGREGATE_ALIASES);
        let mut window = BTreeMap::new();
        for function in SessionStateDefaults::default_window_functions() {
            window.extend(names(function.name(), function.aliases()).map(|name| (name, function.clone())));
        }
        let mut higher_order = BTreeMap::new();
        for function in SessionStateDefaults::default_higher_order_functions() {
            higher_order.extend(names(function.name(), function.aliases()).map(|name| (name, function.clone())));
        }
        let mut planners = SessionStateDefaults::default_expr_planners();
        let operators = JsonOperators::new(|name| scalar.get(name).cloned());
        planners.extend(operators.map(|operators| Arc::new(operators) as Arc<dyn ExprPlanner>));
        Self {
            scalar,
            windows,
            aggregate,
            higher_order,
            window,
            unrepeatable,
            costly,
            planners,
            config: Arc::new(config()),
        }
    }

    /// Whether a function of this name exists.
    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.scalar.contains_key(name)
            || self.aggregate.contains_key(name)
            || self.higher_order.contains_key(name)
            || self.window.contains_key(name)
            || EXPANDED.contains(&name)
            || self.unrepeatable.iter().any(|known| known == name)
    }

    /// Returns the names of all functions, in order.
    pub(crate) fn all_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.scalar.keys().chain(self.aggregate.keys()).map(String::as_str).collect();
        names.retain(|name| *name != AS_OF && *name != MATCH);
        names.sort_unstable();
        names
    }
}

fn window_function(name: &str) -> Option<&'static str> {
    FUNCTIONS.into_iter().find(|function| *function == name)
}

fn names(name: &str, aliases: &[String]) -> impl Iterator<Item = String> {
    std::iter::once(name.to_lowercase())
        .chain(aliases.iter().map(|alias| alias.to_lowercase()))
        .collect::<Vec<_>>()
        .into_iter()
}

fn add_aliases<F>(functions: &mut BTreeMap<String, Arc<F>>, aliases: &[(&str, &str)]) {
    for (alias, name) in aliases {
        if let Some(function) = functions.get(*name).cloned() {
            functions.entry((*alias).to_owned()).or_insert(function);
        }
    }
}

/// How DataFusion plans and optimizes for us.
fn config() -> ConfigOptions {
    let mut config = ConfigOptions::new();
    config.sql_parser.map_string_types_to_utf8view = false;
    config.sql_parser.collect_spans = true;
    // Subqueries become joins: a stream has no moment at which a scalar subquery could be computed once.
    config.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    config.optimizer.filter_null_join_keys = true;
    config
}
