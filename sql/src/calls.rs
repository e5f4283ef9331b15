//! Calls that SQL spells in words of their own, and functions that are short for an expression: `AT TIME ZONE`,
//! `if(…)`, `json_value(… RETURNING …)`, units of time, `?`. It changes syntax and nothing else; no state.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DataType, DateTimeField, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, JsonNullClause,
    ObjectName, ObjectNamePart, Value,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Functions that are short for an expression: they have no other definition.
pub(crate) const EXPANDED: [&str; 5] = ["if", "iff", "mod", "to_base64", "from_base64"];
/// Functions whose first argument is a unit of time, which may stand there without quotes.
const UNIT_FIRST: [&str; 2] = ["timestampadd", "timestampdiff"];

/// Rewrites one expression, whose parts are rewritten already.
pub(crate) fn respell_call(expr: &mut Expr) {
    match expr {
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expr = call("timezone", vec![(**time_zone).clone(), (**timestamp).clone()]);
        }
        Expr::Floor { expr: time, field: CeilFloorKind::DateTimeField(unit) } if *unit != DateTimeField::NoDateTime => {
            *expr = truncated((**time).clone(), unit);
        }
        Expr::Ceil { expr: time, field: CeilFloorKind::DateTimeField(unit) } if *unit != DateTimeField::NoDateTime => {
            *expr = raised((**time).clone(), unit);
        }
        // What `->` gives is JSON; a cast of it means the value, which is what `->>` gives.
        Expr::Cast { expr: inner, data_type, .. } if !matches!(data_type, DataType::JSON | DataType::JSONB) => {
            value_of_json(inner);
        }
        Expr::Function(function) => {
            if let Some(short) = expansion(function) {
                *expr = short;
            }
        }
        _ => {}
    }
}

/// `FLOOR(time TO unit)`, as Flink has it.
fn truncated(time: Expr, unit: &DateTimeField) -> Expr {
    call("date_trunc", vec![text(&unit.to_string().to_lowercase()), time])
}

/// `CEIL(time TO unit)`: the time itself where a unit begins.
fn raised(time: Expr, unit: &DateTimeField) -> Expr {
    let floor = truncated(time.clone(), unit);
    let begins = Expr::BinaryOp {
        left: Box::new(floor.clone()),
        op: BinaryOperator::Eq,
        right: Box::new(Expr::Nested(Box::new(time.clone()))),
    };
    let one = Expr::Value(Value::Number("1".to_owned(), false).with_empty_span());
    case(begins, time, call("timestampadd", vec![text(&unit.to_string()), one, floor]))
}

fn value_of_json(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner) => value_of_json(inner),
        Expr::BinaryOp { op, .. } => match op {
            BinaryOperator::Arrow => *op = BinaryOperator::LongArrow,
            BinaryOperator::HashArrow => *op = BinaryOperator::HashLongArrow,
            _ => {}
        },
        _ => {}
    }
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

/// Returns the name of a function of one part, in lower case.
pub(crate) fn name_of(function: &Function) -> Option<String> {
    match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(crate::parser::normalized(ident)),
        _ => None,
    }
}

/// Returns the arguments of a call where they are expressions without names.
fn plain_args(list: &FunctionArgumentList) -> Option<Vec<&Expr>> {
    let plain = |arg| match arg {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    list.args.iter().map(plain).collect()
}

pub(crate) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).with_empty_span())
}

/// Returns what a call is short for; changes its arguments where they alone are spelt in another way.
fn expansion(function: &mut Function) -> Option<Expr> {
    let name = name_of(function)?;
    let FunctionArguments::List(list) = &mut function.args else { return None };
    if UNIT_FIRST.contains(&name.as_str()) {
        if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(unit @ Expr::Identifier(_)))) = list.args.first_mut() {
            *unit = text(&unit.to_string());
        }
        return None;
    }
    if name == "listagg" && list.args.len() == 1 {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(text(","))));
        return None;
    }
    if matches!(name.as_str(), "json_object" | "json_array") {
        flatten_members(list);
        return None;
    }
    if let Some(returning) = take_returning(&name, list) {
        return Some(cast(Expr::Function(function.clone()), returning));
    }
    let args = plain_args(list)?;
    match (name.as_str(), args.as_slice()) {
        ("if" | "iff", [condition, then, otherwise]) => {
            Some(case((*condition).clone(), (*then).clone(), (*otherwise).clone()))
        }
        ("mod", [left, right]) => Some(Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new((*left).clone()))),
            op: BinaryOperator::Modulo,
            right: Box::new(Expr::Nested(Box::new((*right).clone()))),
        }))),
        ("to_base64", [bytes]) => Some(call("encode", vec![(*bytes).clone(), text("base64pad")])),
        ("from_base64", [digits]) => {
            Some(cast(call("decode", vec![(*digits).clone(), text("base64pad")]), DataType::Text))
        }
        _ => None,
    }
}

/// Makes `CASE WHEN condition THEN then ELSE otherwise END`.
pub(crate) fn case(condition: Expr, then: Expr, otherwise: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result: then }],
        else_result: Some(Box::new(otherwise)),
    }
}

/// `json_object('a' VALUE x)` is `json_object('a', x)`; nulls are members, as the standard has it.
fn flatten_members(list: &mut FunctionArgumentList) {
    let is_named = |arg: &FunctionArg| matches!(arg, FunctionArg::Named { name, .. } if name.quote_style == Some('\''));
    if list.args.iter().any(is_named) {
        let members = std::mem::take(&mut list.args).into_iter().flat_map(|arg| match arg {
            FunctionArg::Named { name, arg, .. } if name.quote_style == Some('\'') => {
                vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(text(&name.value))), FunctionArg::Unnamed(arg)]
            }
            other => vec![other],
        });
        list.args = members.collect();
    }
    list.clauses.retain(|clause| !matches!(clause, FunctionArgumentClause::JsonNullClause(JsonNullClause::NullOnNull)));
}

fn take_returning(name: &str, list: &mut FunctionArgumentList) -> Option<DataType> {
    if !matches!(name, "json_value" | "json_query") {
        return None;
    }
    let is_returning =
        |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::JsonReturningClause(_));
    let at = list.clauses.iter().position(is_returning)?;
    match list.clauses.remove(at) {
        FunctionArgumentClause::JsonReturningClause(clause) => Some(clause.data_type),
        _ => None,
    }
}

/// Makes operators of question marks: no statement of a pipeline has parameters.
pub(crate) fn question_operators(tokens: &mut Vec<TokenWithSpan>) {
    let mut read = std::mem::take(tokens).into_iter().peekable();
    while let Some(mut token) = read.next() {
        if matches!(&token.token, Token::Placeholder(text) if text == "?") {
            let (operator, is_wide) = match read.peek().map(|next| &next.token) {
                Some(Token::Pipe) => (Token::QuestionPipe, true),
                Some(Token::Ampersand) => (Token::QuestionAnd, true),
                _ => (Token::Question, false),
            };
            token.token = operator;
            if is_wide {
                read.next();
            }
        }
        tokens.push(token);
    }
}
