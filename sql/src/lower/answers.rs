//! Takes calls of asynchronous functions out of expressions: an operator of its own answers each of them first, and the
//! expression reads its column. A call among the arguments of another is answered before it.

use super::{Flow, Lowering, Scope};
use crate::async_udf::{deferred, innermost_calls};
use crate::position::WithPlace;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use headwater_core::{AsyncOperatorSpec, Error, Exchange, Result};
use headwater_operators::AsyncCall;
use std::sync::Arc;

/// What the columns of answers are called, with a number.
const ANSWER: &str = "__answer_";

impl Lowering<'_> {
    /// Returns the flow with a column for each call of an asynchronous function, and the expressions without calls
    /// under the same names.
    pub(super) fn answered(&mut self, mut flow: Flow, exprs: &[Expr], scope: Scope<'_>) -> Result<(Flow, Vec<Expr>)> {
        let names = NamePreserver::new_for_projection();
        let mut exprs = exprs.to_vec();
        loop {
            let calls = innermost_calls(&exprs);
            if calls.is_empty() {
                return Ok((flow, exprs));
            }
            for call in calls {
                let column = format!("{ANSWER}{}", flow.schema.fields().len());
                flow = self.answer(flow, &call, &column, scope)?;
                for expr in &mut exprs {
                    let name = names.save(expr);
                    let replaced = std::mem::take(expr).transform_down(|part| {
                        let is_call = part == call;
                        let answer = || Expr::Column(Column::new_unqualified(&column));
                        Ok(if is_call { Transformed::yes(answer()) } else { Transformed::no(part) })
                    });
                    *expr = name.restore(replaced.map_err(|e| scope.fail(e))?.data);
                }
            }
        }
    }

    fn answer(&mut self, flow: Flow, call: &Expr, column: &str, scope: Scope<'_>) -> Result<Flow> {
        let Expr::ScalarFunction(scalar) = call else { return Err(Error::internal("a call was expected")) };
        let function = deferred(scalar).ok_or_else(|| Error::internal("an asynchronous function was expected"))?;
        let arguments =
            scalar.args.iter().map(|argument| scope.physical(argument, &flow.schema)).collect::<Result<_>>()?;
        let (name, calls) = function.function();
        let operator =
            AsyncCall::new((name, calls), arguments, (column, function.returns()), &flow.rows(), function.settings());
        // A row and its retraction must meet in one subtask.
        let places = call.column_refs().into_iter().filter_map(|column| flow.schema.maybe_index_of_column(column));
        let mut places: Vec<usize> = places.collect();
        places.sort_unstable();
        let exchange = match (flow.changing, places.is_empty()) {
            (false, _) => Exchange::Forward,
            (true, false) => Exchange::Hash(places),
            (true, true) => Exchange::Gather,
        };
        let mut qualifiers: Vec<_> = flow.schema.iter().map(|(qualifier, _)| qualifier.cloned()).collect();
        qualifiers.push(None);
        let schema = super::qualified(qualifiers, &operator.schema()).map_err(|e| scope.fail(e))?;
        let mut flow = self.asynchronous(flow, exchange, Arc::new(operator), &format!("call_{name}"), scope);
        flow.schema = Arc::new(schema);
        flow.label = "answers";
        Ok(flow)
    }
}

/// Refuses calls of asynchronous functions where nobody takes them out.
pub(super) fn refuse_calls<'a>(exprs: impl IntoIterator<Item = &'a Expr>, scope: Scope<'_>) -> Result<()> {
    let calls = innermost_calls(exprs);
    let Some(Expr::ScalarFunction(call)) = calls.first() else { return Ok(()) };
    let name = call.func.name();
    let error = Error::invalid(format!("the asynchronous function '{name}' cannot be called here"));
    let help = "call it in the select list of a subquery or view, and use its result outside";
    Err(error.with_help(help).with_place(scope.place.find_call(name).unwrap_or_else(|| scope.place.start())))
}
