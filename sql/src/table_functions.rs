//! Window functions in FROM: `TABLE(hop(TABLE t, DESCRIPTOR(ts), …))` and `hop(t, ts, …)` become subqueries that add
//! `window_start`, `window_end` and `window_time` to the columns of the table. It changes syntax and nothing else; no
//! state, one walk over each query.

use crate::parser::{normalized, parse_query};
use crate::position::{Place, WithPlace};
use crate::windows::{CUMULATE, FUNCTIONS, HOP, SESSION, TUMBLE};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query,
    Select, SelectItem, SetExpr, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};
use headwater_core::{Error, Result};
use std::ops::ControlFlow;

/// What a window function in FROM stands for; `__call` and `__table` are put in.
const SUBQUERY: &str = "SELECT * EXCEPT (__window), __window['start'] AS window_start, __window['end'] AS window_end, \
    window_time(__window) AS window_time FROM (SELECT *, __call AS __window FROM __table)";
/// What an offset is added to.
const ORIGIN: &str = "SELECT TIMESTAMP '1970-01-01T00:00:00'";

/// Takes words out of tokens that sqlparser does not read in the arguments of a function: `TABLE t` becomes `t`, and
/// `t PARTITION BY k` becomes `t, k`. Every token stays at its index.
pub(crate) fn without_table_words(tokens: &mut [TokenWithSpan]) {
    let solid: Vec<usize> =
        (0..tokens.len()).filter(|index| !matches!(tokens[*index].token, Token::Whitespace(_))).collect();
    let keyword = |tokens: &[TokenWithSpan], at: usize| match solid.get(at).map(|index| &tokens[*index].token) {
        Some(Token::Word(word)) => Some(word.keyword),
        _ => None,
    };
    let nothing = || Token::Whitespace(Whitespace::Space);
    for at in 2..solid.len() {
        let opens = matches!(&tokens[solid[at - 1]].token, Token::LParen | Token::RArrow)
            && (0..at).rev().take(4).any(
                |before| matches!(&tokens[solid[before]].token, Token::Word(word) if function(&word.value).is_some()),
            );
        let is_name = matches!(solid.get(at + 1).map(|index| &tokens[*index].token), Some(Token::Word(_)));
        if !opens || !is_name || keyword(tokens, at) != Some(Keyword::TABLE) {
            continue;
        }
        tokens[solid[at]].token = nothing();
        if keyword(tokens, at + 2) == Some(Keyword::PARTITION) && keyword(tokens, at + 3) == Some(Keyword::BY) {
            tokens[solid[at + 2]].token = Token::Comma;
            tokens[solid[at + 3]].token = nothing();
        }
    }
}

fn function(name: &str) -> Option<&'static str> {
    FUNCTIONS.into_iter().find(|function| function.eq_ignore_ascii_case(name))
}

/// Rewrites every window function in FROM.
pub(crate) fn rewrite_table_functions(mut query: Box<Query>, place: &Place) -> Result<Box<Query>> {
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

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let Some((function, args, alias)) = call_of(factor) else { return ControlFlow::Continue(()) };
        let rewritten = self.subquery(function, &args, alias);
        match rewritten {
            Ok(subquery) => {
                *factor = subquery;
                ControlFlow::Continue(())
            }
            Err(error) => {
                let span = self.place.find_call(function).unwrap_or_else(|| self.place.start());
                ControlFlow::Break(Box::new(error.with_place(span)))
            }
        }
    }
}

/// Returns the window function that a relation is made by.
fn call_of(factor: &TableFactor) -> Option<(&'static str, Vec<FunctionArg>, Option<TableAlias>)> {
    let only = |name: &ObjectName| match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => function(&name.value),
        _ => None,
    };
    match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => {
            Some((only(name)?, args.args.clone(), alias.clone()))
        }
        TableFactor::TableFunction { expr: Expr::Function(call), alias } => match &call.args {
            FunctionArguments::List(list) => Some((only(&call.name)?, list.args.clone(), alias.clone())),
            FunctionArguments::None | FunctionArguments::Subquery(_) => None,
        },
        _ => None,
    }
}

/// The arguments of a window function in FROM.
struct Arguments {
    table: Expr,
    keys: Vec<Expr>,
    time: Expr,
    intervals: Vec<Expr>,
    offset: Option<Expr>,
}

impl Rewrite<'_> {
    fn subquery(&self, function: &'static str, args: &[FunctionArg], alias: Option<TableAlias>) -> Result<TableFactor> {
        let arguments = arguments(function, args)?;
        let (table, name) = relation(arguments.table)?;
        let mut call_args = vec![arguments.time];
        call_args.extend(arguments.intervals);
        call_args.extend(arguments.keys);
        if let Some(offset) = arguments.offset {
            let origin = Box::new(only_column(ORIGIN)?);
            call_args.push(Expr::BinaryOp { left: origin, op: BinaryOperator::Plus, right: Box::new(offset) });
        }
        let mut query = parse_query(SUBQUERY)?;
        let inner = inner_select(&mut query)?;
        for item in &mut inner.projection {
            if let SelectItem::ExprWithAlias { expr, .. } = item {
                *expr = call(function, call_args.clone())?;
            }
        }
        if let Some(from) = inner.from.first_mut() {
            from.relation = table;
        }
        let alias =
            alias.or_else(|| name.map(|name| TableAlias { explicit: true, name, columns: Vec::new(), at: None }));
        Ok(TableFactor::Derived { lateral: false, subquery: query, alias, sample: None })
    }
}

fn inner_select(query: &mut Query) -> Result<&mut Select> {
    let lost = || Error::internal("the subquery of a window function was lost");
    let SetExpr::Select(outer) = query.body.as_mut() else { return Err(lost()) };
    let Some(TableFactor::Derived { subquery, .. }) = outer.from.first_mut().map(|from| &mut from.relation) else {
        return Err(lost());
    };
    match subquery.body.as_mut() {
        SetExpr::Select(inner) => Ok(inner),
        _ => Err(lost()),
    }
}

/// Returns the only column of a query.
fn only_column(sql: &str) -> Result<Expr> {
    let query = parse_query(sql)?;
    match *query.body {
        SetExpr::Select(mut select) => match select.projection.pop() {
            Some(SelectItem::UnnamedExpr(expr)) => Ok(expr),
            _ => Err(Error::internal("a query without a column")),
        },
        _ => Err(Error::internal("a query without a select list")),
    }
}

/// Makes a call of a function.
fn call(function: &str, args: Vec<Expr>) -> Result<Expr> {
    let Expr::Function(mut call) = only_column(&format!("SELECT {function}()"))? else {
        return Err(Error::internal("a call that is none"));
    };
    if let FunctionArguments::List(list) = &mut call.args {
        list.args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    }
    Ok(Expr::Function(call))
}

/// Returns the relation that an argument names, and the name under which its columns are known.
fn relation(argument: Expr) -> Result<(TableFactor, Option<Ident>)> {
    match argument {
        Expr::Identifier(name) => {
            let mut query = parse_query("SELECT * FROM t")?;
            let SetExpr::Select(select) = query.body.as_mut() else { return Err(Error::internal("no query")) };
            let mut factor = select.from.remove(0).relation;
            if let TableFactor::Table { name: table, .. } = &mut factor {
                *table = ObjectName(vec![ObjectNamePart::Identifier(name.clone())]);
            }
            Ok((factor, Some(name)))
        }
        Expr::Subquery(subquery) => {
            Ok((TableFactor::Derived { lateral: false, subquery, alias: None, sample: None }, None))
        }
        other => Err(Error::invalid(format!("'{other}' is not a table")).with_help("name a table or a view")),
    }
}

fn arguments(function: &str, args: &[FunctionArg]) -> Result<Arguments> {
    let n_intervals = if matches!(function, TUMBLE | SESSION) { 1 } else { 2 };
    let mut named: Vec<(String, Expr)> = Vec::new();
    let mut plain: Vec<Expr> = Vec::new();
    for arg in args {
        let (name, arg) = match arg {
            FunctionArg::Named { name, arg, .. } => (Some(normalized(name)), arg),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => (Some(normalized(name)), arg),
            FunctionArg::Unnamed(arg) => (None, arg),
            FunctionArg::ExprNamed { .. } => return Err(wrong(function)),
        };
        let FunctionArgExpr::Expr(expr) = arg else { return Err(wrong(function)) };
        match name {
            Some(name) => named.push((name, expr.clone())),
            None => plain.push(expr.clone()),
        }
    }
    if named.is_empty() {
        return positional(function, n_intervals, plain);
    }
    let mut take = |name: &str| named.iter().position(|(other, _)| other == name).map(|at| named.remove(at).1);
    let intervals: Vec<Option<Expr>> = match function {
        HOP => vec![take("slide"), take("size")],
        CUMULATE => vec![take("step"), take("size")],
        SESSION => vec![take("gap")],
        _ => vec![take("size")],
    };
    let (table, time, offset) = (take("data"), take("timecol"), take("offset"));
    let intervals: Option<Vec<Expr>> = intervals.into_iter().collect();
    match (table, time, intervals) {
        (Some(table), Some(time), Some(intervals)) if named.is_empty() => {
            Ok(Arguments { table, keys: plain, time: described(time), intervals, offset })
        }
        _ => Err(wrong(function)),
    }
}

/// `(table, [keys,] time, intervals [, offset])`
fn positional(function: &str, n_intervals: usize, mut plain: Vec<Expr>) -> Result<Arguments> {
    let descriptor = plain.iter().position(is_descriptor).unwrap_or(1);
    let n_after = plain.len().saturating_sub(descriptor + 1);
    let fits = descriptor >= 1 && (n_intervals..=n_intervals + 1).contains(&n_after);
    if !fits || (function == SESSION && n_after > n_intervals) {
        return Err(wrong(function));
    }
    let offset = if n_after > n_intervals { plain.pop() } else { None };
    let intervals = plain.split_off(descriptor + 1);
    let time = described(plain.remove(descriptor));
    let keys = plain.split_off(1);
    if !keys.is_empty() && function != SESSION {
        return Err(wrong(function));
    }
    Ok(Arguments { table: plain.remove(0), keys, time, intervals, offset })
}

fn is_descriptor(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("descriptor"))
}

/// Returns the column in `DESCRIPTOR(column)`.
fn described(expr: Expr) -> Expr {
    let Expr::Function(call) = &expr else { return expr };
    match &call.args {
        FunctionArguments::List(list) if is_descriptor(&expr) => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] => column.clone(),
            _ => expr,
        },
        _ => expr,
    }
}

fn wrong(function: &str) -> Error {
    let help = match function {
        HOP => "write hop(t, ts, interval '…' /* slide */, interval '…' /* width */)",
        CUMULATE => "write cumulate(t, ts, interval '…' /* step */, interval '…' /* greatest size */)",
        SESSION => "write TABLE(session(TABLE t PARTITION BY k, DESCRIPTOR(ts), interval '…' /* gap */))",
        _ => "write tumble(t, ts, interval '…')",
    };
    Error::invalid(format!("the arguments of {function} are not understood")).with_help(help)
}
