//! `t FOR SYSTEM_TIME AS OF expr AS alias`: a joined table as it was at the time of each row that it is joined to.
//!
//! DataFusion's planner does not read it, so it passes in disguise. The clause is taken out of the tokens before they
//! are parsed and put back on its table afterwards; before a query is planned it becomes one more condition of the
//! join, `__as_of(alias.column, expr)`, which lowering takes off again with [`take_as_of`]. What the clause means is
//! decided there: a table that is looked up answers as it is now, every other as it was at an event time. No state.

use crate::catalog::{Catalog, Context, Relation};
use crate::parser::{DIALECT, from_parser, normalized};
use crate::position::{Place, WithPlace, span_of};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, Result as PlanResult, exec_err};
use datafusion::logical_expr::planner::ContextProvider;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    self as plan, ColumnarValue, LogicalPlan, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SetExpr, TableAlias, TableFactor,
    TableVersion, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan};
use headwater_core::{Error, Result};
use std::ops::ControlFlow;

/// The function that stands for the clause while DataFusion plans: `__as_of(a column of the table, the time)`.
pub(crate) const AS_OF: &str = "__as_of";
const CLAUSE: [&str; 4] = ["FOR", "SYSTEM_TIME", "AS", "OF"];
/// How users call the time at which a row is processed.
const NOW: [&str; 5] = ["proctime", "now", "current_timestamp", "localtimestamp", "current_row_timestamp"];

/// A clause that was taken out of a text.
#[derive(Debug)]
pub(crate) struct Clause {
    /// The word before it: the name of the table, or its alias.
    table: TokenSpan,
    clause: TokenSpan,
    time: Expr,
    is_put_back: bool,
}

/// Takes every clause out of the tokens of a text.
pub(crate) fn take_clauses(tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Vec<Clause>)> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut clauses = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Some(n_tokens) = clause_at(&tokens[at..]) else {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        };
        let clause = tokens[at].span;
        let before = kept.iter().rev().find(|token| !matches!(token.token, Token::Whitespace(_)));
        let Some(table) = before.filter(|token| matches!(token.token, Token::Word(_))).map(|token| token.span) else {
            return Err(misplaced(clause));
        };
        let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens[at + n_tokens..].to_vec());
        let time = parser.parse_expr().map_err(from_parser)?;
        at += n_tokens + parser.index();
        clauses.push(Clause { table, clause, time, is_put_back: false });
    }
    Ok((kept, clauses))
}

/// Returns how many tokens the words of a clause take that begins here.
fn clause_at(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut words = CLAUSE.iter();
    let mut next = words.next();
    for (index, token) in tokens.iter().enumerate() {
        match (&token.token, next) {
            (Token::Whitespace(_), Some(_)) if index > 0 => {}
            (Token::Word(word), Some(wanted)) if word.value.eq_ignore_ascii_case(wanted) => next = words.next(),
            _ => return None,
        }
        if next.is_none() {
            return Some(index + 1);
        }
    }
    None
}

fn misplaced(clause: TokenSpan) -> Error {
    let error = Error::invalid("FOR SYSTEM_TIME AS OF belongs behind the name of a joined table");
    let help = "write JOIN table FOR SYSTEM_TIME AS OF row.time AS alias ON …";
    error.with_help(help).with_place(span_of(clause))
}

/// Puts clauses back on the tables that they were taken from.
pub(crate) fn put_back(syntax: &mut impl VisitMut, clauses: &mut [Clause]) {
    if !clauses.is_empty() {
        // The walk cannot be broken off.
        let _ = syntax.visit(&mut PutBack(clauses));
    }
}

/// Checks that every clause found its table again.
pub(crate) fn check_put_back(clauses: &[Clause]) -> Result<()> {
    clauses.iter().find(|clause| !clause.is_put_back).map_or(Ok(()), |clause| Err(misplaced(clause.clause)))
}

struct PutBack<'a>(&'a mut [Clause]);

impl VisitorMut for PutBack<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, version, .. } = factor {
            let last = name.0.last().and_then(ObjectNamePart::as_ident).map(|ident| ident.span);
            let alias = alias.as_ref().map(|alias| alias.name.span);
            let found = self.0.iter_mut().find(|clause| [last, alias].contains(&Some(clause.table)));
            if let Some(clause) = found {
                clause.is_put_back = true;
                *version = Some(TableVersion::ForSystemTimeAsOf(clause.time.clone()));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Makes every clause of a query a condition of its join.
pub(crate) fn rewrite_versions(mut query: Box<Query>, context: &Context<'_>) -> Result<Box<Query>> {
    match VisitMut::visit(&mut query, &mut Rewrite { context }) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(query),
    }
}

struct Rewrite<'a> {
    context: &'a Context<'a>,
}

impl VisitorMut for Rewrite<'_> {
    type Break = Box<Error>;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        match self.body(&mut query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

/// A joined table with a clause.
struct Versioned {
    name: ObjectName,
    alias: Ident,
    time: Expr,
}

impl Rewrite<'_> {
    fn body(&self, body: &mut SetExpr) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left)?;
                self.body(right)
            }
            _ => Ok(()),
        }
    }

    fn select(&self, select: &mut Select) -> Result<()> {
        let mut conditions = Vec::new();
        for (number, table) in select.from.iter_mut().enumerate() {
            if let Some(versioned) = take_version(&mut table.relation) {
                if number == 0 {
                    let error = Error::invalid("FOR SYSTEM_TIME AS OF needs rows whose time is meant");
                    let help = "put the table behind a JOIN: FROM rows AS r JOIN table FOR SYSTEM_TIME AS OF r.time …";
                    return Err(error.with_help(help).with_place(span_of(versioned.alias.span)));
                }
                conditions.extend(self.mark(&versioned, select.selection.as_ref())?);
            }
            for join in &mut table.joins {
                if let Some(versioned) = take_version(&mut join.relation) {
                    let constraint = constraint(&mut join.join_operator, &versioned)?;
                    let on = match std::mem::replace(constraint, JoinConstraint::None) {
                        JoinConstraint::On(on) => Some(on),
                        _ => None,
                    };
                    let mark = self.mark(&versioned, on.as_ref().or(select.selection.as_ref()))?;
                    *constraint = all(on.into_iter().chain(mark)).map_or(JoinConstraint::None, JoinConstraint::On);
                    if matches!(join.join_operator, JoinOperator::CrossJoin(JoinConstraint::On(_))) {
                        let constraint = std::mem::replace(&mut join.join_operator, JoinOperator::CrossApply);
                        let JoinOperator::CrossJoin(constraint) = constraint else { continue };
                        join.join_operator = JoinOperator::Inner(constraint);
                    }
                }
            }
        }
        if !conditions.is_empty() {
            select.selection = all(select.selection.take().into_iter().chain(conditions));
        }
        Ok(())
    }

    /// Returns the condition that stands for the clause; `None` where the table is looked up as it is now, which needs
    /// no condition.
    fn mark(&self, versioned: &Versioned, condition: Option<&Expr>) -> Result<Option<Expr>> {
        let place = span_of(versioned.alias.span);
        if is_now(&versioned.time) {
            if self.is_looked_up(&versioned.name) {
                return Ok(None);
            }
            let name = &versioned.name;
            let error = Error::invalid(format!("only a lookup table can be read as it is now, and '{name}' is none"));
            let help = "name the event time of the row: FOR SYSTEM_TIME AS OF r.time; or declare type = 'lookup'";
            return Err(error.with_help(help).with_place(place));
        }
        let Some(column) =
            condition.and_then(|on| column_of(on, &versioned.alias)).or_else(|| self.any_column(versioned))
        else {
            let error = Error::invalid(format!("the join with '{}' names no column of it", versioned.alias));
            return Err(error.with_help("add ON row.key = table.key").with_place(place));
        };
        let column = Expr::CompoundIdentifier(vec![versioned.alias.clone(), column]);
        Ok(Some(call(AS_OF, vec![column, versioned.time.clone()])))
    }

    fn any_column(&self, versioned: &Versioned) -> Option<Ident> {
        let [ObjectNamePart::Identifier(name)] = versioned.name.0.as_slice() else { return None };
        let source = self.context.get_table_source(normalized(name).into()).ok()?;
        Some(Ident::with_quote('"', source.schema().fields().first()?.name()))
    }

    fn is_looked_up(&self, name: &ObjectName) -> bool {
        let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return false };
        is_looked_up(&normalized(name), self.context.catalog)
    }
}

/// Whether a name stands for a table that is looked up, or for a view of nothing but one.
pub(crate) fn is_looked_up(name: &str, catalog: &Catalog) -> bool {
    let mut plan = match catalog.get(name) {
        Some(Relation::Table(table)) => return table.is_lookup(),
        Some(Relation::View { plan, .. }) => plan.as_ref(),
        Some(Relation::Memory { .. }) | None => return false,
    };
    loop {
        plan = match plan {
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::TableScan(scan) => return is_looked_up(scan.table_name.table(), catalog),
            _ => return false,
        };
    }
}

/// Takes the clause off a table.
fn take_version(factor: &mut TableFactor) -> Option<Versioned> {
    let TableFactor::Table { name, alias, version, .. } = factor else { return None };
    match version.take() {
        Some(TableVersion::ForSystemTimeAsOf(time)) => {
            let last = name.0.last().and_then(ObjectNamePart::as_ident).cloned()?;
            let alias = alias.as_ref().map_or(last, |TableAlias { name, .. }| name.clone());
            Some(Versioned { name: name.clone(), alias, time })
        }
        other => {
            *version = other;
            None
        }
    }
}

fn constraint<'a>(operator: &'a mut JoinOperator, versioned: &Versioned) -> Result<&'a mut JoinConstraint> {
    let refuse = |what: &str, help: &str| {
        let error = Error::invalid(format!("{what} with a table FOR SYSTEM_TIME AS OF is not supported"));
        Err(error.with_help(help).with_place(span_of(versioned.alias.span)))
    };
    match operator {
        JoinOperator::Join(JoinConstraint::Using(_) | JoinConstraint::Natural)
        | JoinOperator::Inner(JoinConstraint::Using(_) | JoinConstraint::Natural)
        | JoinOperator::Left(JoinConstraint::Using(_) | JoinConstraint::Natural)
        | JoinOperator::LeftOuter(JoinConstraint::Using(_) | JoinConstraint::Natural) => {
            refuse("USING and NATURAL", "write ON row.key = table.key")
        }
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::CrossJoin(constraint) => Ok(constraint),
        _ => refuse("this join", "write JOIN or LEFT JOIN, with the versioned table on the right"),
    }
}

/// Whether an expression means the time at which a row is processed.
fn is_now(time: &Expr) -> bool {
    let name = match time {
        Expr::Function(function) if matches!(&function.args, FunctionArguments::None) => function.name.to_string(),
        Expr::Function(function) => match &function.args {
            FunctionArguments::List(list) if list.args.is_empty() => function.name.to_string(),
            _ => return false,
        },
        Expr::Nested(inner) => return is_now(inner),
        _ => return false,
    };
    NOW.contains(&name.to_lowercase().as_str())
}

/// Finds a column that an expression takes from a table.
fn column_of(expr: &Expr, table: &Ident) -> Option<Ident> {
    struct Find(String);
    impl Visitor for Find {
        type Break = Ident;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Ident> {
            match expr {
                Expr::CompoundIdentifier(parts) if parts.len() == 2 && normalized(&parts[0]) == self.0 => {
                    ControlFlow::Break(parts[1].clone())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(expr, &mut Find(normalized(table))).break_value()
}

fn all(conditions: impl Iterator<Item = Expr>) -> Option<Expr> {
    conditions.map(|condition| Expr::Nested(Box::new(condition))).reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    })
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

/// The version of a joined table that a join asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AsOf {
    /// A column of the table whose version is meant.
    pub(crate) table: Column,
    /// The time, as an expression over the other side.
    pub(crate) time: plan::Expr,
}

/// Takes the versions that are asked for off the condition of a join, and returns the rest of it.
pub(crate) fn take_as_of(filter: Option<&plan::Expr>) -> (Vec<AsOf>, Option<plan::Expr>) {
    let mut versions = Vec::new();
    let mut rest = Vec::new();
    for condition in filter.map(split_conjunction).unwrap_or_default() {
        match condition {
            plan::Expr::ScalarFunction(function) if function.name() == AS_OF => match function.args.as_slice() {
                [plan::Expr::Column(table), time] => {
                    versions.push(AsOf { table: table.clone(), time: time.clone() });
                }
                _ => rest.push(condition.clone()),
            },
            other => rest.push(other.clone()),
        }
    }
    (versions, conjunction(rest))
}

/// Returns the refusal of a clause whose meaning nobody knows.
pub(crate) fn refuse_as_of(version: &AsOf, place: &Place) -> Error {
    let table = version.table.relation.as_ref().map_or("the table", |name| name.table());
    let error = Error::invalid(format!("'{table}' has no versions to choose from with FOR SYSTEM_TIME AS OF"));
    let help = "leave the clause out to join with all rows, or declare the table with type = 'lookup'";
    let span = place.find_name(table).unwrap_or_else(|| place.start());
    error.with_help(help).with_place(span)
}

/// The function behind [`AS_OF`]; it is never executed.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AsOfMark(Signature);

impl AsOfMark {
    pub(crate) fn new() -> Self {
        Self(Signature::any(2, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for AsOfMark {
    fn name(&self) -> &str {
        AS_OF
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arg_types: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        exec_err!("FOR SYSTEM_TIME AS OF is not supported here")
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::explain;
    use expect_test::expect;

    const TABLES: &str = "
CREATE TABLE o (id BIGINT, currency TEXT, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'files', path = 'o', type = 'source');
CREATE TABLE r (currency TEXT, rate DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'files', path = 'r', type = 'source');
";

    fn refusal(query: &str) -> String {
        explain(&format!("{TABLES}{query}"))
    }

    #[test]
    fn the_clause_is_read_wherever_a_joined_table_stands_and_nowhere_else() {
        expect![[r#"
            line 4, column 31: FOR SYSTEM_TIME AS OF belongs behind the name of a joined table
            help: write JOIN table FOR SYSTEM_TIME AS OF row.time AS alias ON …
        "#]]
        .assert_eq(&refusal("SELECT * FROM (SELECT 1 AS x) FOR SYSTEM_TIME AS OF PROCTIME() AS y;"));
        expect![[r#"
            line 4, column 15: FOR SYSTEM_TIME AS OF needs rows whose time is meant
            help: put the table behind a JOIN: FROM rows AS r JOIN table FOR SYSTEM_TIME AS OF r.time …
        "#]]
        .assert_eq(&refusal("SELECT * FROM o FOR SYSTEM_TIME AS OF ts;"));
        expect![[r#"
            line 4, column 25: USING and NATURAL with a table FOR SYSTEM_TIME AS OF is not supported
            help: write ON row.key = table.key
        "#]]
        .assert_eq(&refusal("SELECT o.id FROM o JOIN r FOR SYSTEM_TIME AS OF o.ts USING (currency);"));
        expect![[r#"
            line 4, column 60: only a lookup table can be read as it is now, and 'r' is none
            help: name the event time of the row: FOR SYSTEM_TIME AS OF r.time; or declare type = 'lookup'
        "#]]
        .assert_eq(&refusal(
            "SELECT * FROM o LEFT JOIN r FOR SYSTEM_TIME AS OF now() AS x ON o.currency = x.currency;",
        ));
    }

    #[test]
    fn a_mistake_in_the_time_is_found_in_its_place() {
        expect![[r#"
            line 4, column 49: there is no column 'o.tss'
            help: did you mean ts?
        "#]]
        .assert_eq(&refusal("SELECT o.id FROM o JOIN r FOR SYSTEM_TIME AS OF o.tss AS x ON o.currency = x.currency;"));
    }
}
