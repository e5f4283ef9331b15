//! `a ASOF [LEFT] JOIN b ON a.k = b.k AND a.t >= b.t`, and Snowflake's `a ASOF JOIN b MATCH_CONDITION (a.t >= b.t) ON
//! a.k = b.k`, which keeps rows without a match.
//!
//! sqlparser reads only the second, and DataFusion's planner neither. So the word ASOF of the first passes as GLOBAL,
//! which it reads in the same place, and both become joins in which the comparison is marked: `__as_of_match(a.t >=
//! b.t)`. Once the query is planned, `version_join` makes steps of their own of them. It changes syntax and nothing
//! else; no state.

use crate::position::{Place, WithPlace, span_of};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result as PlanResult, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, Join,
    JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SetExpr, Spanned, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use headwater_core::{Error, Result};
use std::ops::ControlFlow;

/// The function that marks the comparison while DataFusion plans.
pub(crate) const MATCH: &str = "__as_of_match";
const HELP: &str = "write a ASOF JOIN b ON a.key = b.key AND a.time >= b.time";

/// Lets ASOF pass as GLOBAL where sqlparser would ask for MATCH_CONDITION.
pub(crate) fn respell_as_of(tokens: &mut [TokenWithSpan]) {
    for index in 0..tokens.len() {
        let (before, after) = tokens.split_at_mut(index + 1);
        let Some(TokenWithSpan { token: Token::Word(word), .. }) = before.last_mut() else { continue };
        if word.quote_style.is_none() && word.keyword == Keyword::ASOF && is_written_with_on(after) {
            *word = Word { value: "GLOBAL".to_owned(), quote_style: None, keyword: Keyword::GLOBAL };
        }
    }
}

/// Whether `[LEFT [OUTER] | INNER] JOIN …` follows, and no MATCH_CONDITION before its condition.
fn is_written_with_on(tokens: &[TokenWithSpan]) -> bool {
    let mut depth = 0_usize;
    let mut has_join = false;
    for token in tokens {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return has_join,
            Token::RParen => depth -= 1,
            Token::SemiColon => return has_join,
            Token::Word(word) if depth == 0 && word.quote_style.is_none() => match word.keyword {
                Keyword::LEFT | Keyword::OUTER | Keyword::INNER | Keyword::RIGHT | Keyword::FULL if !has_join => {}
                Keyword::JOIN if !has_join => has_join = true,
                Keyword::MATCH_CONDITION => return false,
                Keyword::ON | Keyword::USING => return has_join,
                _ if !has_join => return false,
                _ => {}
            },
            _ => {}
        }
    }
    has_join
}

/// Marks the comparisons of as-of joins.
pub(crate) fn rewrite_as_of(mut query: Box<Query>, place: &Place) -> Result<Box<Query>> {
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
        match self.body(&mut query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
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
        for join in select.from.iter_mut().flat_map(|table| &mut table.joins) {
            if std::mem::take(&mut join.global) {
                self.mark_in_condition(join)?;
            }
            if let JoinOperator::AsOf { match_condition, constraint } = &mut join.join_operator {
                let mark = mark(match_condition.clone());
                let on = match std::mem::replace(constraint, JoinConstraint::None) {
                    JoinConstraint::None => mark,
                    JoinConstraint::On(on) => and(on, mark),
                    JoinConstraint::Using(_) | JoinConstraint::Natural => return Err(self.refused("USING")),
                };
                join.join_operator = JoinOperator::LeftOuter(JoinConstraint::On(on));
            }
        }
        Ok(())
    }

    fn mark_in_condition(&self, join: &mut Join) -> Result<()> {
        let span = join.relation.span();
        let constraint = match &mut join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint) => constraint,
            _ => return Err(self.refused("this kind of join")),
        };
        let JoinConstraint::On(on) = constraint else { return Err(self.refused("USING")) };
        match mark_comparisons(on) {
            1 => Ok(()),
            n => {
                let error = Error::invalid(format!("an ASOF JOIN needs one comparison with <, <=, > or >=, not {n}"));
                let span = if span.start.line > 0 { span_of(span) } else { self.place.start() };
                Err(error.with_help(HELP).with_place(span))
            }
        }
    }

    fn refused(&self, what: &str) -> Error {
        let error = Error::invalid(format!("{what} in an ASOF JOIN is not supported")).with_help(HELP);
        error.with_place(self.place.find_name("ASOF").unwrap_or_else(|| self.place.start()))
    }
}

/// Marks the comparisons among conditions that are joined by AND, and returns how many there are.
fn mark_comparisons(expr: &mut Expr) -> usize {
    match expr {
        Expr::Nested(inner) => mark_comparisons(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => mark_comparisons(left) + mark_comparisons(right),
        Expr::BinaryOp { op, .. } => {
            let is_comparison =
                matches!(op, BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq);
            if is_comparison {
                *expr = mark(expr.clone());
            }
            usize::from(is_comparison)
        }
        _ => 0,
    }
}

fn and(left: Expr, right: Expr) -> Expr {
    let left = Box::new(Expr::Nested(Box::new(left)));
    Expr::BinaryOp { left, op: BinaryOperator::And, right: Box::new(right) }
}

fn mark(comparison: Expr) -> Expr {
    let args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(comparison))];
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(MATCH))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The function behind [`MATCH`]; it is never executed.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatchMark(Signature);

impl MatchMark {
    pub(crate) fn new() -> Self {
        Self(Signature::any(1, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for MatchMark {
    fn name(&self) -> &str {
        MATCH
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arg_types: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        exec_err!("ASOF JOIN is not supported here")
    }
}
