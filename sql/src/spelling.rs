//! What our SQL spells in a way that DataFusion's planner does not read: `f(x).field` becomes `f(x)['field']`, and
//! intervals of quarters become months, `FETCH FIRST n ROWS ONLY` becomes `LIMIT n`. It changes syntax and nothing else; no state, one walk over each statement.

use crate::calls::respell_call;
use crate::parser::normalized;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, DateTimeField, Expr, Fetch, Interval, LimitClause, Query, Subscript, Value, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

/// The months of a quarter.
const QUARTER_MONTHS: i64 = 3;

/// Rewrites every expression of a query, or of an expression.
pub(crate) fn respell(syntax: &mut impl VisitMut) {
    // The walk cannot be broken off.
    let _ = syntax.visit(&mut Respell);
}

struct Respell;

impl VisitorMut for Respell {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        fetch_as_limit(query);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundFieldAccess { access_chain, .. } => access_chain.iter_mut().for_each(field_by_name),
            Expr::Interval(interval) => quarters_as_months(interval),
            other => respell_call(other),
        }
        ControlFlow::Continue(())
    }
}

/// `FETCH FIRST n ROWS ONLY` is `LIMIT n`; its other forms stay and are refused.
fn fetch_as_limit(query: &mut Query) {
    let is_limit = |fetch: &Fetch| !fetch.with_ties && !fetch.percent;
    if !query.fetch.as_ref().is_some_and(is_limit) {
        return;
    }
    let one = || Expr::Value(Value::Number("1".to_owned(), false).with_empty_span());
    match &mut query.limit_clause {
        None => {
            let limit = query.fetch.take().and_then(|fetch| fetch.quantity).or_else(|| Some(one()));
            query.limit_clause = Some(LimitClause::LimitOffset { limit, offset: None, limit_by: Vec::new() });
        }
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => {
            *limit = query.fetch.take().and_then(|fetch| fetch.quantity).or_else(|| Some(one()));
        }
        Some(_) => {}
    }
}

fn field_by_name(access: &mut AccessExpr) {
    if let AccessExpr::Dot(Expr::Identifier(field)) = access {
        let name = Value::SingleQuotedString(normalized(field)).with_span(field.span);
        *access = AccessExpr::Subscript(Subscript::Index { index: Expr::Value(name) });
    }
}

fn quarters_as_months(interval: &mut Interval) {
    let Expr::Value(value) = interval.value.as_mut() else { return };
    let months = match (&value.value, &interval.leading_field) {
        (Value::SingleQuotedString(text) | Value::Number(text, _), Some(DateTimeField::Quarter)) => {
            text.trim().parse().ok().and_then(months_of)
        }
        (Value::SingleQuotedString(text), None) => in_words(text),
        _ => None,
    };
    if let Some(months) = months {
        value.value = Value::SingleQuotedString(months);
        interval.leading_field = None;
    }
}

fn months_of(quarters: i64) -> Option<String> {
    quarters.checked_mul(QUARTER_MONTHS).map(|months| format!("{months} months"))
}

/// Returns a text such as `1 year 2 quarters` without quarters; `None` where it has none, or has them without a number.
fn in_words(text: &str) -> Option<String> {
    let mut words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    let mut found = false;
    for pair in words.chunks_exact_mut(2) {
        if matches!(pair[1].as_str(), "quarter" | "quarters") {
            pair[0] = pair[0].parse().ok().and_then(months_of)?;
            pair[1].clear();
            found = true;
        }
    }
    words.retain(|word| !word.is_empty());
    found.then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respelt(text: &str) -> String {
        let mut expr = crate::parser::parse_unspelt(text).expect("an expression");
        respell(&mut expr);
        expr.to_string()
    }

    #[test]
    fn fields_of_calls_and_of_elements_are_taken_by_name() {
        assert_eq!(respelt("f(x).start"), "f(x)['start']");
        assert_eq!(respelt("f(x).Start.\"End\""), "f(x)['start']['End']");
        assert_eq!(respelt("1 + g(list[1].a)"), "1 + g(list[1]['a'])");
        assert_eq!(respelt("a.b.c"), "a.b.c");
        assert_eq!(respelt("CASE WHEN f(x).y > 1 THEN 2 END"), "CASE WHEN f(x)['y'] > 1 THEN 2 END");
    }

    #[test]
    fn quarters_are_three_months() {
        assert_eq!(respelt("INTERVAL '1 quarter'"), "INTERVAL '3 months'");
        assert_eq!(respelt("f(t, INTERVAL '2 Quarters')"), "f(t, INTERVAL '6 months')");
        assert_eq!(respelt("INTERVAL '1 year -1 quarters 2 days'"), "INTERVAL '1 year -3 months 2 days'");
        assert_eq!(respelt("INTERVAL '2' QUARTER"), "INTERVAL '6 months'");
        assert_eq!(respelt("INTERVAL 1 QUARTER"), "INTERVAL '3 months'");
        for other in ["INTERVAL '1 month'", "INTERVAL 'x quarter'", "INTERVAL '9223372036854775807 quarters'"] {
            assert_eq!(respelt(other), other);
        }
    }
}
