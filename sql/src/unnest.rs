//! `FROM t, UNNEST(t.list) AS u(x)`: DataFusion's planner knows UNNEST in the select list only when its argument is a
//! column, so this form becomes `FROM (SELECT *, unnest(t.list) AS x FROM t) AS t`. It changes syntax and nothing else;
//! no state.

use crate::position::{Place, WithPlace, span_of};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, JoinConstraint,
    JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor,
    TableWithJoins, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use headwater_core::{Error, Result};
use std::ops::ControlFlow;

/// Rewrites every query that joins a table with an UNNEST of its own columns.
pub(crate) fn rewrite_lateral_unnest(mut query: Box<Query>, place: &Place) -> Result<Box<Query>> {
    match query.visit(&mut Rewrite { place }) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(query),
    }
}

struct Rewrite<'a> {
    place: &'a Place,
}

impl VisitorMut for Rewrite<'_> {
    type Break = Box<Error>;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        match self.rewrite_body(&mut query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

/// An UNNEST that was found in FROM.
struct Found {
    array: Expr,
    table: Option<Ident>,
    column: Ident,
}

impl Rewrite<'_> {
    fn rewrite_body(&self, body: &mut SetExpr) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.rewrite_select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.rewrite_body(left)?;
                self.rewrite_body(right)
            }
            _ => Ok(()),
        }
    }

    fn rewrite_select(&self, select: &mut Select) -> Result<()> {
        while let Some(found) = self.take_unnest(&mut select.from)? {
            let [from] = select.from.as_slice() else {
                return Err(self.refused("UNNEST beside several tables"));
            };
            if !from.joins.is_empty() {
                return Err(self.refused("UNNEST beside a join"));
            }
            let alias = relation_name(&from.relation).ok_or_else(|| self.refused("UNNEST of this"))?;
            let inner = inner_query(select, from.clone(), &found);
            let alias = TableAlias { explicit: true, name: alias, columns: Vec::new(), at: None };
            let derived =
                TableFactor::Derived { lateral: false, subquery: Box::new(inner), alias: Some(alias), sample: None };
            select.from = vec![TableWithJoins { relation: derived, joins: Vec::new() }];
            if let Some(table) = &found.table {
                unqualify(select, table);
            }
        }
        Ok(())
    }

    fn refused(&self, what: &str) -> Error {
        let error = Error::invalid(format!("{what} is not supported"));
        let help = "put the other tables into a subquery or view, and unnest its result";
        error.with_help(help).with_place(self.place.find_call("UNNEST").unwrap_or_else(|| self.place.start()))
    }

    /// Takes the first UNNEST that stands after another relation.
    fn take_unnest(&self, from: &mut Vec<TableWithJoins>) -> Result<Option<Found>> {
        let after_comma = from.iter().skip(1).position(|t| matches!(t.relation, TableFactor::UNNEST { .. }));
        if let Some(index) = after_comma {
            let table = from.remove(index + 1);
            return self.found(table.relation).map(Some);
        }
        for table in from.iter_mut() {
            let is_cross = |operator: &JoinOperator| {
                matches!(
                    operator,
                    JoinOperator::CrossJoin(JoinConstraint::None) | JoinOperator::Join(JoinConstraint::None)
                )
            };
            let Some(at) = table.joins.iter().position(|j| matches!(j.relation, TableFactor::UNNEST { .. })) else {
                continue;
            };
            if !is_cross(&table.joins[at].join_operator) {
                return Err(self.refused("UNNEST in a join other than CROSS JOIN"));
            }
            return self.found(table.joins.remove(at).relation).map(Some);
        }
        Ok(None)
    }

    fn found(&self, factor: TableFactor) -> Result<Found> {
        let TableFactor::UNNEST { alias, mut array_exprs, with_offset, with_ordinality, .. } = factor else {
            return Err(Error::internal("an UNNEST was expected"));
        };
        let array = array_exprs.pop();
        let (Some(array), true, false, false) = (array, array_exprs.is_empty(), with_offset, with_ordinality) else {
            return Err(self.refused("UNNEST of several lists, or with numbers,"));
        };
        let Some(alias) = alias else {
            let error = Error::invalid("UNNEST needs a name").with_help("write UNNEST(…) AS u(x)");
            return Err(error.with_place(self.place.find_call("UNNEST").unwrap_or_else(|| self.place.start())));
        };
        match alias.columns.as_slice() {
            [] => Ok(Found { array, table: None, column: alias.name }),
            [column] => Ok(Found { array, table: Some(alias.name), column: column.name.clone() }),
            [_, second, ..] => {
                let error = Error::invalid("UNNEST of one list gives one column");
                Err(error.with_help("write UNNEST(…) AS u(x)").with_place(span_of(second.name.span)))
            }
        }
    }
}

fn relation_name(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, alias: None, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

/// Makes `SELECT *, unnest(array) AS column FROM table`.
fn inner_query(select: &Select, from: TableWithJoins, found: &Found) -> Query {
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(found.array.clone()));
    let list = FunctionArgumentList { duplicate_treatment: None, args: vec![argument], clauses: Vec::new() };
    let call = Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new("unnest"))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    });
    let mut inner = select.clone();
    inner.distinct = None;
    inner.selection = None;
    inner.having = None;
    inner.group_by = datafusion::sql::sqlparser::ast::GroupByExpr::Expressions(Vec::new(), Vec::new());
    inner.projection = vec![
        SelectItem::Wildcard(WildcardAdditionalOptions::default()),
        SelectItem::ExprWithAlias { expr: call, alias: found.column.clone() },
    ];
    inner.from = vec![from];
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(inner))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// Takes the name of the UNNEST off the columns that carry it.
fn unqualify(select: &mut Select, table: &Ident) {
    struct Strip<'a>(&'a Ident);
    impl VisitorMut for Strip<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(parts) = expr
                && parts.len() > 1
                && parts[0].value.eq_ignore_ascii_case(&self.0.value)
            {
                parts.remove(0);
                if let [only] = parts.as_slice() {
                    *expr = Expr::Identifier(only.clone());
                }
            }
            ControlFlow::Continue(())
        }
    }
    // The walk cannot be broken off.
    let _ = select.visit(&mut Strip(table));
}
