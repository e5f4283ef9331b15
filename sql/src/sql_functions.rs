//! `CREATE FUNCTION … RETURN expression`: scalar functions in SQL. A call is replaced by the expression, its arguments
//! and its result cast to the declared types, before anything else is planned; so such a function costs what its
//! expression costs, and what the optimizer finds in it.
//!
//! The expression may call functions that are declared before it, never itself. The state is what was declared.

use crate::calls::{cast, name_of};
use crate::catalog::Context;
use crate::errors::from_datafusion;
use crate::near::help_for_name;
use crate::optimize::{aggregates_of, coerced};
use crate::parser::{normalized, parse_at, single_name};
use crate::position::{UNKNOWN, WithPlace, span_of};
use crate::spelling::respell;
use crate::table::parser_options;
use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::ExprSchemable;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{
    ArgMode, ColumnDef, CreateFunction, CreateFunctionBody, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, FunctionBehavior, FunctionCalledOnNull, FunctionReturnType, Ident, Query, Select, SelectItem,
    SetExpr, Spanned, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use headwater_core::{Error, Result, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// The functions that statements declared so far.
#[derive(Default)]
pub(crate) struct SqlFunctions {
    by_name: BTreeMap<String, Declared>,
}

/// A function in SQL.
pub(crate) struct Declared {
    name: String,
    parameters: Vec<Parameter>,
    returns: DataType,
    body: Expr,
    /// Whether it is null as soon as one argument is.
    is_strict: bool,
    replaces: bool,
    span: Span,
}

struct Parameter {
    /// Its name; `$1` where it has none.
    name: String,
    data_type: DataType,
    default: Option<Expr>,
}

impl SqlFunctions {
    /// Keeps a function for the statements that follow.
    pub(crate) fn add(&mut self, function: Declared) -> Result<()> {
        if !function.replaces && self.by_name.contains_key(&function.name) {
            let error = Error::invalid(format!("the function '{}' is declared already", function.name));
            let help = "give it another name, or write CREATE OR REPLACE FUNCTION";
            return Err(error.with_help(help).with_place(function.span));
        }
        self.by_name.insert(function.name.clone(), function);
        Ok(())
    }

    /// Replaces the calls in a query, or in an expression.
    pub(crate) fn expand(&self, syntax: &mut impl VisitMut) -> Result<()> {
        if self.by_name.is_empty() {
            return Ok(());
        }
        match syntax.visit(&mut Expand { functions: self }) {
            ControlFlow::Break(error) => Err(*error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn find(&self, expr: &Expr) -> Option<&Declared> {
        let Expr::Function(call) = expr else { return None };
        self.by_name.get(&name_of(call)?)
    }
}

/// Reads a declaration and checks it.
pub(crate) fn declare(create: CreateFunction, context: &Context<'_>) -> Result<Declared> {
    let start = context.place.start();
    let refuse = |what: String, help: &str| Err(Error::invalid(what).with_help(help).with_place(start));
    let ident = single_name(create.name)?;
    let (name, span) = (normalized(&ident), span_of(ident.span));
    if let Some(language) = create.language.filter(|language| !language.value.eq_ignore_ascii_case("sql")) {
        let error = Error::invalid(format!("functions in {} cannot be declared here", language.value));
        let help = "write it in SQL with RETURN expression, or register a Rust function (docs/sql/udf.md)";
        return Err(error.with_help(help).with_place(span_of(language.span)));
    }
    if create.behavior == Some(FunctionBehavior::Volatile) {
        return refuse(
            format!("the function '{name}' is VOLATILE, so no result could be corrected"),
            "leave VOLATILE out: an expression over its arguments is the same at each call",
        );
    }
    if context.functions.is_known(&name) {
        let error = Error::invalid(format!("there is a function '{name}' already"));
        return Err(error.with_help("give yours another name").with_place(span));
    }
    let returns = match create.return_type {
        Some(FunctionReturnType::DataType(data_type)) => data_type,
        Some(FunctionReturnType::SetOf(_)) => {
            return refuse(format!("the function '{name}' returns a set"), "return a list and UNNEST it");
        }
        None => {
            let help = "write RETURNS and a type before RETURN";
            return refuse(format!("the function '{name}' does not say what it returns"), help);
        }
    };
    let parameters = parameters(create.args.unwrap_or_default(), context)?;
    let mut body = body(create.function_body, &name, context)?;
    respell(&mut body);
    if let Some(at) = call_of(&body, &name) {
        let error = Error::invalid(format!("the function '{name}' calls itself"));
        return Err(error.with_help("write it without recursion").with_place(at));
    }
    context.catalog.functions.expand(&mut body)?;
    let is_strict = matches!(
        create.called_on_null,
        Some(FunctionCalledOnNull::Strict | FunctionCalledOnNull::ReturnsNullOnNullInput)
    );
    let function = Declared { name, parameters, returns, body, is_strict, replaces: create.or_replace, span };
    function.check(context)?;
    Ok(function)
}

fn parameters(
    args: Vec<datafusion::sql::sqlparser::ast::OperateFunctionArg>,
    context: &Context<'_>,
) -> Result<Vec<Parameter>> {
    let mut parameters: Vec<Parameter> = Vec::with_capacity(args.len());
    for (at, arg) in args.into_iter().enumerate() {
        if !matches!(arg.mode, None | Some(ArgMode::In)) {
            let error = Error::invalid("a parameter of a function in SQL is IN");
            return Err(error.with_help("leave its mode out").with_place(context.place.start()));
        }
        let name = arg.name.as_ref().map_or_else(|| format!("${}", at + 1), parameter_name);
        if parameters.iter().any(|other| other.name == name) {
            let error = Error::invalid(format!("two parameters are called '{name}'"));
            let span = context.place.find_name(&name).unwrap_or_else(|| context.place.start());
            return Err(error.with_help("give one of them another name").with_place(span));
        }
        let mut default = arg.default_expr;
        if let Some(default) = &mut default {
            context.catalog.functions.expand(default)?;
        } else if parameters.iter().any(|before| before.default.is_some()) {
            let error = Error::invalid(format!("the parameter '{name}' has no default, but one before it has"));
            let span = context.place.find_name(&name).unwrap_or_else(|| context.place.start());
            return Err(error.with_help("put parameters with defaults last").with_place(span));
        }
        parameters.push(Parameter { name, data_type: arg.data_type, default });
    }
    Ok(parameters)
}

/// The parser keeps the quotes of a parameter's name in its text.
fn parameter_name(ident: &Ident) -> String {
    let quoted = ident.value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    quoted.map_or_else(|| normalized(ident), |name| name.replace("\"\"", "\""))
}

/// Returns the expression of a declaration.
fn body(body: Option<CreateFunctionBody>, name: &str, context: &Context<'_>) -> Result<Expr> {
    let refuse = |help: &str| {
        let error = Error::invalid(format!("the function '{name}' is not one expression"));
        Err(error.with_help(help).with_place(context.place.start()))
    };
    let help = "write RETURN expression, AS 'expression' or AS $$ SELECT expression $$";
    match body {
        Some(CreateFunctionBody::Return(Expr::Subquery(query))) => of_query(*query).map_or_else(|| refuse(help), Ok),
        Some(CreateFunctionBody::Return(expr) | CreateFunctionBody::AsReturnExpr(expr)) => Ok(expr),
        Some(CreateFunctionBody::AsReturnSelect(select)) => of_select(select).map_or_else(|| refuse(help), Ok),
        Some(CreateFunctionBody::AsBeforeOptions { body: Expr::Value(value), link_symbol: None }) => {
            let (text, quote) = match &value.value {
                Value::DollarQuotedString(quoted) => {
                    (quoted.value.clone(), quoted.tag.as_ref().map_or(0, |tag| tag.chars().count()) + 2)
                }
                Value::SingleQuotedString(text) => (text.clone(), 1),
                _ => return refuse(help),
            };
            let start = span_of(value.span);
            let inner = Span { line: start.line, column: start.column + quote as u64 };
            parse_body(&text, inner)?.map_or_else(|| refuse(help), Ok)
        }
        _ => refuse(help),
    }
}

/// Reads the text of a body: an expression, or a query that is nothing else.
fn parse_body(text: &str, start: Span) -> Result<Option<Expr>> {
    let is_query = text.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select"));
    let text = text.trim_end().trim_end_matches(';');
    if is_query {
        return parse_at(text, start, |parser| parser.parse_query()).map(|query| of_query(*query));
    }
    let has_return = text.trim_start().get(..7).is_some_and(|word| word.eq_ignore_ascii_case("return "));
    let text = if has_return { text.replacen(&text.trim_start()[..7], "       ", 1) } else { text.to_owned() };
    parse_at(&text, start, |parser| parser.parse_expr()).map(Some)
}

fn of_query(query: Query) -> Option<Expr> {
    let is_bare = query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
    match *query.body {
        SetExpr::Select(select) if is_bare => of_select(*select),
        _ => None,
    }
}

fn of_select(select: Select) -> Option<Expr> {
    let is_bare = select.from.is_empty() && select.selection.is_none() && select.distinct.is_none();
    match (select.projection.into_iter().next(), is_bare) {
        (Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }), true) => Some(expr),
        _ => None,
    }
}

/// Returns where an expression calls a function for the first time.
fn call_of(expr: &Expr, name: &str) -> Option<Span> {
    struct Calls<'a>(&'a str);
    impl Visitor for Calls<'_> {
        type Break = Span;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Span> {
            match expr {
                Expr::Function(call) if name_of(call).as_deref() == Some(self.0) => ControlFlow::Break(place_of(call)),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match expr.visit(&mut Calls(name)) {
        ControlFlow::Break(span) => Some(span),
        ControlFlow::Continue(()) => None,
    }
}

fn place_of(call: &Function) -> Span {
    call.name.0.first().and_then(|part| part.as_ident()).map_or(UNKNOWN, |ident| span_of(ident.span))
}

/// Returns the place of the first subquery.
fn subquery(expr: &Expr) -> Option<Span> {
    struct Subqueries;
    impl Visitor for Subqueries {
        type Break = Span;
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Span> {
            ControlFlow::Break(span_of(query.span()))
        }
    }
    match expr.visit(&mut Subqueries) {
        ControlFlow::Break(span) => Some(span),
        ControlFlow::Continue(()) => None,
    }
}

impl Declared {
    /// Plans the body over its parameters, so that a mistake is shown where it was made.
    fn check(&self, context: &Context<'_>) -> Result<()> {
        if let Some(span) = subquery(&self.body) {
            let error = Error::invalid(format!("the function '{}' has a query inside", self.name));
            return Err(error.with_help("a function in SQL is an expression over its parameters").with_place(span));
        }
        let fields: Vec<Field> =
            self.parameters.iter().map(|p| self.field(&p.name, &p.data_type, context)).collect::<Result<_>>()?;
        let returns = self.field("result", &self.returns, context)?;
        let fail = |error| from_datafusion(error, context.place, &context.functions.all_names());
        let schema = DFSchema::try_from(Schema::new(fields)).map_err(fail)?;
        let columns: Vec<Expr> =
            self.parameters.iter().map(|p| Expr::Identifier(Ident::with_quote('"', &p.name))).collect();
        let mut body = self.body.clone();
        substitute(&mut body, self, &columns);
        let planner = SqlToRel::new_with_options(context, parser_options());
        let expr = planner.sql_to_expr(body, &schema, &mut PlannerContext::new()).map_err(fail)?;
        if !aggregates_of([&expr]).is_empty() {
            let error = Error::invalid(format!("the function '{}' has an aggregate inside", self.name));
            let help = "aggregate where it is called, or register a Rust function (docs/sql/udf.md)";
            return Err(error.with_help(help).with_place(self.span));
        }
        let expr = coerced(expr, &schema, &context.functions.config).map_err(fail)?;
        let found = expr.get_type(&schema).map_err(fail)?;
        if !can_cast_types(&found, returns.data_type()) {
            let wanted = &self.returns;
            let error = Error::invalid(format!("the function '{}' gives {found}, not {wanted}", self.name));
            return Err(error.with_help("change RETURNS, or CAST the expression").with_place(self.span));
        }
        Ok(())
    }

    fn field(&self, name: &str, data_type: &DataType, context: &Context<'_>) -> Result<Field> {
        let planner = SqlToRel::new_with_options(context, parser_options());
        let column =
            ColumnDef { name: Ident::with_quote('"', name), data_type: data_type.clone(), options: Vec::new() };
        let schema = planner.build_schema(vec![column]).map_err(|_| {
            let error = Error::invalid(format!("the type {data_type} is not supported"));
            let help = "use BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), TEXT, BYTEA, DATE, TIMESTAMP, \
                        a type with [], or STRUCT<name type, …>";
            error.with_help(help).with_place(self.span)
        })?;
        let field: &FieldRef = &schema.fields()[0];
        Ok(field.as_ref().clone())
    }

    /// Makes the expression that a call stands for.
    fn expanded(&self, call: &Function) -> Result<Expr> {
        let args = self.arguments(call)?;
        let typed: Vec<Expr> = args
            .iter()
            .zip(&self.parameters)
            .map(|(arg, parameter)| Expr::Nested(Box::new(cast(arg.clone(), parameter.data_type.clone()))))
            .collect();
        let mut body = self.body.clone();
        substitute(&mut body, self, &typed);
        let value = cast(Expr::Nested(Box::new(body)), self.returns.clone());
        if !self.is_strict {
            return Ok(value);
        }
        let nulls = typed.into_iter().map(|arg| Expr::IsNull(Box::new(arg)));
        let or = |left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: datafusion::sql::sqlparser::ast::BinaryOperator::Or,
            right: Box::new(right),
        };
        Ok(match nulls.reduce(or) {
            Some(is_null) => crate::calls::case(is_null, Expr::Value(Value::Null.with_empty_span()), value),
            None => value,
        })
    }

    fn arguments(&self, call: &Function) -> Result<Vec<Expr>> {
        let span = place_of(call);
        let refuse = |what: String, help: String| Err(Error::invalid(what).with_help(help).with_place(span));
        let signature = self.signature();
        if call.over.is_some() || call.filter.is_some() || !call.within_group.is_empty() {
            return refuse(format!("'{}' is a scalar function", self.name), format!("call it as {signature}"));
        }
        let FunctionArguments::List(list) = &call.args else {
            return refuse(format!("'{}' needs its arguments", self.name), format!("call it as {signature}"));
        };
        let mut given: Vec<Option<Expr>> = vec![None; self.parameters.len()];
        for (at, arg) in list.args.iter().enumerate() {
            let (place, expr) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (Some(at), expr),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                    let name = normalized(name);
                    let found = self.parameters.iter().position(|parameter| parameter.name == name);
                    if found.is_none() {
                        let names: Vec<&str> = self.parameters.iter().map(|p| p.name.as_str()).collect();
                        let help = help_for_name("parameters", &name, &names);
                        return refuse(format!("'{}' has no parameter '{name}'", self.name), help);
                    }
                    (found, expr)
                }
                _ => {
                    return refuse(format!("'*' is no argument of '{}'", self.name), format!("call it as {signature}"));
                }
            };
            if let Some(slot) = place.and_then(|place| given.get_mut(place)) {
                *slot = Some(expr.clone());
            }
        }
        let n_given = list.args.len();
        let filled = given.into_iter().zip(&self.parameters).map(|(given, p)| given.or_else(|| p.default.clone()));
        match filled.collect::<Option<Vec<Expr>>>() {
            Some(args) if n_given <= args.len() => Ok(args),
            _ => {
                let n = self.parameters.len();
                let noun = if n == 1 { "argument" } else { "arguments" };
                let help = format!("call it as {signature}");
                refuse(format!("the function '{}' takes {n} {noun}, not {n_given}", self.name), help)
            }
        }
    }

    fn signature(&self) -> String {
        let parameters: Vec<String> = self.parameters.iter().map(|p| format!("{} {}", p.name, p.data_type)).collect();
        format!("{}({})", self.name, parameters.join(", "))
    }
}

/// Puts arguments in the place of parameters. What is put in is not looked into again.
fn substitute(body: &mut Expr, function: &Declared, args: &[Expr]) {
    struct Substitute<'a>(&'a Declared, &'a [Expr]);
    impl Substitute<'_> {
        fn find(&self, expr: &Expr) -> Option<&Expr> {
            let name = match expr {
                Expr::Identifier(ident) => normalized(ident),
                Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                    [function, name] if normalized(function) == self.0.name => normalized(name),
                    _ => return None,
                },
                Expr::Value(value) => match &value.value {
                    Value::Placeholder(text) => {
                        let at: usize = text.strip_prefix('$')?.parse().ok()?;
                        return self.1.get(at.checked_sub(1)?);
                    }
                    _ => return None,
                },
                _ => return None,
            };
            let at = self.0.parameters.iter().position(|parameter| parameter.name == name)?;
            self.1.get(at)
        }
    }
    impl VisitorMut for Substitute<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Some(arg) = self.find(expr) {
                *expr = arg.clone();
            }
            ControlFlow::Continue(())
        }
    }
    // The walk cannot be broken off.
    let _ = body.visit(&mut Substitute(function, args));
}

struct Expand<'a> {
    functions: &'a SqlFunctions,
}

impl VisitorMut for Expand<'_> {
    type Break = Box<Error>;

    /// A column is called by what the user wrote, not by what it stands for.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let names: BTreeSet<&str> = self.functions.by_name.keys().map(String::as_str).collect();
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && names.iter().any(|name| call_of(expr, name).is_some())
            {
                let alias = Ident::with_quote('"', expr.to_string());
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Some(function) = self.functions.find(expr) else { return ControlFlow::Continue(()) };
        let Expr::Function(call) = &*expr else { return ControlFlow::Continue(()) };
        match function.expanded(call) {
            Ok(expanded) => {
                *expr = expanded;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_expression_or_a_bare_query() {
        let read = |text: &str| parse_body(text, Span { line: 3, column: 10 });
        let shown = |text: &str| read(text).expect("it parses").map(|expr| expr.to_string());
        assert_eq!(shown("a + 1"), Some("a + 1".to_owned()));
        assert_eq!(shown(" SELECT a * 2 AS b; "), Some("a * 2".to_owned()));
        assert_eq!(shown("RETURN a || 'x'"), Some("a || 'x'".to_owned()));
        assert_eq!(shown("SELECT a FROM t"), None);
        let error = read("a +\n+ )").expect_err("it does not parse").to_string();
        assert!(error.starts_with("line 4, column 3"), "{error}");
        let error = read("a + )").expect_err("it does not parse").to_string();
        assert!(error.starts_with("line 3, column 14"), "{error}");
    }
}
