//! `FROM t, UNNEST(t.list) AS u(x)` becomes `FROM (SELECT *, unnest(t.list) AS x FROM t) AS t`, where `t` is the only
//! table; beside a join it stays what it is, and the rules for lateral joins find it. `WITH ORDINALITY` becomes one
//! more list, of the numbers from 1. It changes syntax and nothing else; no state.

use crate::position::{Place, WithPlace, span_of};
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut, WildcardAdditionalOptions,
    visit_expressions_mut,
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

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } = factor else {
            return ControlFlow::Continue(());
        };
        for list in array_exprs.iter_mut() {
            // Within a literal, DataFusion does not find the columns of the tables beside it.
            let _ = visit_expressions_mut(list, |expr| {
                if let Expr::Array(array) = expr {
                    *expr = call("make_array", std::mem::take(&mut array.elem));
                }
                ControlFlow::<()>::Continue(())
            });
        }
        if std::mem::take(with_ordinality) {
            let n_lists = array_exprs.len();
            array_exprs.push(numbers(array_exprs));
            if let Some(alias) = alias {
                if alias.columns.is_empty() && n_lists == 1 {
                    alias.columns.push(column_def(alias.name.clone()));
                }
                if alias.columns.len() == n_lists {
                    alias.columns.push(column_def(Ident::new("ordinality")));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn column_def(name: Ident) -> TableAliasColumnDef {
    TableAliasColumnDef { name, data_type: None }
}

/// The numbers from 1 to the length of the longest list.
fn numbers(lists: &[Expr]) -> Expr {
    let lengths: Vec<Expr> = lists.iter().map(|list| call("cardinality", vec![list.clone()])).collect();
    let longest = if lengths.len() == 1 { lengths } else { vec![call("greatest", lengths)] };
    let Some(longest) = longest.into_iter().next() else { return Expr::value(Value::Null) };
    let longest = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(longest),
        data_type: DataType::BigInt(None),
        array: false,
        format: None,
    };
    call("generate_series", vec![Expr::value(Value::Number("1".to_owned(), false)), longest])
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// An UNNEST that was found in FROM.
struct Found {
    table: Option<Ident>,
    /// The lists, and what their elements are called.
    lists: Vec<(Expr, Ident)>,
}

/// Whether all but one of the relations are UNNESTs.
fn is_of_one_table(from: &[TableWithJoins]) -> bool {
    let relations = from.iter().flat_map(|t| std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation)));
    relations.filter(|relation| !matches!(relation, TableFactor::UNNEST { .. })).count() == 1
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
        while is_of_one_table(&select.from) {
            let Some(found) = self.take_unnest(&mut select.from)? else { return Ok(()) };
            // The last that is taken out leaves the table alone; others are still beside it.
            let [from, rest @ ..] = select.from.as_slice() else { return Ok(()) };
            let rest = rest.to_vec();
            let (mut from, joins) = (from.clone(), from.joins.clone());
            from.joins.clear();
            let alias = relation_name(&from.relation).ok_or_else(|| self.refused("UNNEST of this"))?;
            let inner = inner_query(select, from, &found);
            let alias = TableAlias { explicit: true, name: alias, columns: Vec::new(), at: None };
            let derived =
                TableFactor::Derived { lateral: false, subquery: Box::new(inner), alias: Some(alias), sample: None };
            select.from = std::iter::once(TableWithJoins { relation: derived, joins }).chain(rest).collect();
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
            let is_taken = |j: &Join| matches!(j.relation, TableFactor::UNNEST { .. }) && is_cross(&j.join_operator);
            if let Some(at) = table.joins.iter().position(is_taken) {
                return self.found(table.joins.remove(at).relation).map(Some);
            }
        }
        Ok(None)
    }

    fn found(&self, factor: TableFactor) -> Result<Found> {
        let TableFactor::UNNEST { alias, array_exprs, with_offset: false, .. } = factor else {
            return Err(self.refused("WITH OFFSET"));
        };
        let Some(alias) = alias else {
            let error = Error::invalid("UNNEST needs a name").with_help("write UNNEST(…) AS u(x)");
            return Err(error.with_place(self.place.find_call("UNNEST").unwrap_or_else(|| self.place.start())));
        };
        let mut names: Vec<Ident> = alias.columns.iter().map(|column| column.name.clone()).collect();
        let mut table = Some(alias.name);
        if let ([_], []) = (array_exprs.as_slice(), names.as_slice()) {
            names.extend(table.take());
        }
        let n_lists = array_exprs.len();
        if names.len() != n_lists {
            let count = if n_lists == 1 {
                "one list gives one column".to_owned()
            } else {
                format!("{n_lists} lists gives {n_lists} columns")
            };
            let error = Error::invalid(format!("UNNEST of {count}")).with_help("name each in UNNEST(…) AS u(x, …)");
            let span = names.get(n_lists).map(|name| span_of(name.span));
            let span = span.or_else(|| self.place.find_call("UNNEST"));
            return Err(error.with_place(span.unwrap_or_else(|| self.place.start())));
        }
        Ok(Found { table, lists: array_exprs.into_iter().zip(names).collect() })
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

/// Makes `SELECT *, unnest(list) AS column FROM table`.
fn inner_query(select: &Select, from: TableWithJoins, found: &Found) -> Query {
    let unnest = |(list, name): &(Expr, Ident)| SelectItem::ExprWithAlias {
        expr: call("unnest", vec![list.clone()]),
        alias: name.clone(),
    };
    let mut inner = select.clone();
    inner.distinct = None;
    inner.selection = None;
    inner.having = None;
    inner.group_by = datafusion::sql::sqlparser::ast::GroupByExpr::Expressions(Vec::new(), Vec::new());
    inner.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
    inner.projection.extend(found.lists.iter().map(unnest));
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
