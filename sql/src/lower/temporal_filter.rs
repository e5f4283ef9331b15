//! Lowers conditions on the present: `WHERE ts > now() - INTERVAL '7 days'`. What else the condition asks is an ordinary
//! filter before it.

use super::flow::Flow;
use super::{Lowering, Scope};
use crate::now::{asks_for_now, comparisons};
use crate::position::WithPlace;
use crate::windows::unmarked;
use datafusion::common::DFSchema;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use headwater_core::{Error, Exchange, Result};
use headwater_operators::{TemporalBound, TemporalFilter};

impl Scope<'_> {
    /// Makes the error for `now()` where it cannot be followed.
    pub(super) fn misplaced_now(&self, name: &str) -> Error {
        let error = Error::invalid(format!(
            "{name}() has another value at each moment; it can be compared with a column in WHERE, and nowhere else"
        ));
        let help = "write a condition such as ts > now() - INTERVAL '7 days', joined to others by AND; elsewhere use a \
                    column of the row";
        let place = self.place.find_call(name).or_else(|| self.place.find_name(name));
        error.with_help(help).with_place(place.unwrap_or_else(|| self.place.start()))
    }
}

impl Lowering<'_> {
    /// Adds a filter whose condition asks for the present.
    pub(super) fn temporal_filter(&mut self, flow: Flow, predicate: &Expr, scope: Scope<'_>) -> Result<Flow> {
        let (timed, plain): (Vec<&Expr>, Vec<&Expr>) =
            split_conjunction(predicate).into_iter().partition(|expr| asks_for_now(expr).is_some());
        let mut flow = flow;
        for condition in plain {
            flow = self.keep_where(flow, condition, scope)?;
        }
        let present = TemporalFilter::present();
        let present = DFSchema::try_from(present).map_err(|e| scope.fail(e))?;
        let mut bounds = Vec::new();
        for condition in timed {
            let Some(found) = comparisons(condition) else {
                return Err(scope.misplaced_now(asks_for_now(condition).unwrap_or("now")));
            };
            for comparison in found {
                let data_type = comparison.value.get_type(&flow.schema).map_err(|e| scope.fail(e))?;
                let has = comparison.present.get_type(&present).map_err(|e| scope.fail(e))?;
                let expr = if has == data_type { comparison.present } else { cast(comparison.present, data_type) };
                bounds.push(TemporalBound {
                    value: scope.physical(&comparison.value, &flow.schema)?,
                    compare: comparison.compare,
                    present: scope.physical(&expr, &present)?,
                });
            }
        }
        // What may be taken back must be found again, by another subtask after a restart too.
        if flow.changing {
            let all = (0..flow.schema.fields().len()).collect();
            flow = self.exchange(flow, Exchange::Hash(all), scope);
        }
        let rows = flow.rows();
        let schema = unmarked(&flow.schema).map_err(|e| scope.fail(e))?;
        let operator = TemporalFilter::new(bounds, rows).map_err(|e| e.with_place(scope.place.start()))?;
        let operator = if flow.changing { operator.over_changes() } else { operator };
        let changing = flow.changing || operator.retracts();
        let mut flow = flow.then(operator, schema);
        flow.changing = changing;
        flow.label = "temporal_filter";
        Ok(flow)
    }
}
