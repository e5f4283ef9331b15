//! What a query may not contain, found in its syntax before anything is planned, so that the message can name the
//! clause, its place and the way out. It never changes the query. No state.

use crate::position::{Place, WithPlace, span_of};
use datafusion::sql::sqlparser::ast::{
    Distinct, Join, JoinConstraint, JoinOperator, Query, Select, SetExpr, Spanned, TableFactor, Visit, Visitor,
};
use headwater_core::{Error, Result, Span};
use std::ops::ControlFlow;

/// Refuses clauses that a stream cannot answer yet.
pub(crate) fn refuse_unsupported(query: &Query, place: &Place) -> Result<()> {
    let refusals = Refusals { place };
    let visited = match refusals.unlimited_order(query) {
        ControlFlow::Continue(()) => query.visit(&mut Refusals { place }),
        refused => refused,
    };
    match visited {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Refusals<'a> {
    place: &'a Place,
}

impl Refusals<'_> {
    fn refuse(&self, what: &str, help: &str, words: &[&str], near: Option<Span>) -> ControlFlow<Box<Error>> {
        let by_words = match near {
            Some(near) => self.place.find_words_before(words, near),
            None => self.place.find_words(words),
        };
        let error = Error::invalid(format!("{what} is not supported")).with_help(help);
        let span = by_words.or(near).unwrap_or_else(|| self.place.start());
        ControlFlow::Break(Box::new(error.with_place(span)))
    }

    /// Refuses the order of a result that has no end; inside of a query an order means nothing and does no harm.
    fn unlimited_order(&self, query: &Query) -> ControlFlow<Box<Error>> {
        let is_distinct_on = |body: &SetExpr| {
            let select = body.as_select();
            select.is_some_and(|select| matches!(select.distinct, Some(Distinct::On(_))))
        };
        let Some(order) = &query.order_by else { return ControlFlow::Continue(()) };
        if query.limit_clause.is_some() || query.fetch.is_some() || is_distinct_on(&query.body) {
            return ControlFlow::Continue(());
        }
        let help =
            "leave it out: a table has no order; add LIMIT for the first rows, or order them where they are read";
        let near = order.span();
        let near = (near.start.line > 0).then(|| span_of(near));
        self.refuse("ORDER BY without LIMIT", help, &["ORDER", "BY"], near)
    }

    fn select(&self, select: &Select) -> ControlFlow<Box<Error>> {
        if select.from.iter().flat_map(|table| &table.joins).any(is_of_one_name) {
            let help = "write ON a.key = b.key, and COALESCE(a.key, b.key) where the key is selected";
            let words: &[&str] = if self.place.find_name("USING").is_some() { &["USING"] } else { &["NATURAL"] };
            return self.refuse("USING or NATURAL in a RIGHT or FULL JOIN", help, words, None);
        }
        if select.top.is_some() {
            return self.refuse("TOP", "a stream has no end to count to: leave it out", &["TOP"], None);
        }
        if select.into.is_some() {
            return self.refuse("SELECT INTO", "write INSERT INTO table SELECT …", &["INTO"], None);
        }
        if !select.sort_by.is_empty() {
            return self.refuse("SORT BY", "leave it out: rows are written as they come", &["SORT", "BY"], None);
        }
        if !select.lateral_views.is_empty() {
            return self.refuse("LATERAL VIEW", "use UNNEST in the select list", &["LATERAL", "VIEW"], None);
        }
        ControlFlow::Continue(())
    }
}

fn select_bodies<'a>(body: &'a SetExpr, found: &mut Vec<&'a Select>) {
    match body {
        SetExpr::Select(select) => found.push(select),
        SetExpr::SetOperation { left, right, .. } => {
            select_bodies(left, found);
            select_bodies(right, found);
        }
        _ => {}
    }
}

/// Whether a join takes a column of both sides for one, but not from the side that has it: the planner would take it
/// from the left.
fn is_of_one_name(join: &Join) -> bool {
    let constraint = match &join.join_operator {
        JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => constraint,
        _ => return false,
    };
    matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
}

impl Visitor for Refusals<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            let help = "write the steps out, or compute the closure before the data comes in";
            return self.refuse("WITH RECURSIVE", help, &["WITH", "RECURSIVE"], None);
        }
        if let Some(fetch) = query.fetch.as_ref().filter(|fetch| fetch.with_ties || fetch.percent) {
            let what = if fetch.with_ties { "FETCH … WITH TIES" } else { "FETCH … PERCENT" };
            return self.refuse(what, "write a filter on RANK() OVER (…)", &["FETCH"], None);
        }
        if !query.locks.is_empty() {
            return self.refuse("FOR UPDATE", "leave it out: nothing is locked", &["FOR"], None);
        }
        let mut selects = Vec::new();
        select_bodies(&query.body, &mut selects);
        selects.into_iter().try_for_each(|select| self.select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => {
                let help = "read a declared table; for windows write GROUP BY tumble(interval '…')";
                self.refuse("a function in FROM", help, &["FROM"], None)
            }
            TableFactor::Table { args: Some(_), name, .. } => {
                let help = "read a declared table; for windows write GROUP BY tumble(interval '…')";
                let near = self.place.find_call(&name.to_string());
                self.refuse("a function in FROM", help, &["FROM"], near)
            }
            TableFactor::Table { sample: Some(_), .. } => {
                self.refuse("TABLESAMPLE", "filter by a hash of a column", &["TABLESAMPLE"], None)
            }
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => {
                self.refuse("PIVOT", "use CASE in aggregate functions", &["PIVOT"], None)
            }
            TableFactor::MatchRecognize { .. } => {
                let help =
                    "use lag and lead over the order of the rows, or join the table with itself over an interval";
                self.refuse("MATCH_RECOGNIZE", help, &["MATCH_RECOGNIZE"], None)
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
