//! Text to statements: what sqlparser understands is left to it, `CREATE TABLE` and `SET` are read here because their
//! streaming parts are not in its grammar. It never looks at what a name means. It keeps no state; a text is read once,
//! in time linear in its length, and nesting is bounded by sqlparser's own limit.

use crate::as_of::respell_as_of;
use crate::calls::question_operators;
use crate::create_table::{TableSyntax, parse_create_table};
use crate::dialect::HeadwaterDialect;
use crate::explain::Detail;
use crate::position::{Place, WithPlace, span_of};
use crate::spelling::respell;
use crate::table_functions::without_table_words;
use crate::versions::{Clause, check_put_back, put_back, take_clauses};
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, Query, TableObject};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use headwater_core::{Error, Result, Span};

pub(crate) static DIALECT: HeadwaterDialect = HeadwaterDialect;

/// One statement and the tokens that it was read from.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) kind: StatementKind,
    pub(crate) place: Place,
}

/// What a statement says.
#[derive(Debug)]
pub(crate) enum StatementKind {
    CreateTable(Box<TableSyntax>),
    CreateView {
        name: Ident,
        columns: Vec<Ident>,
        query: Box<Query>,
    },
    Insert {
        table: Ident,
        columns: Vec<Ident>,
        query: Box<Query>,
    },
    Select(Box<Query>),
    Set {
        name: Ident,
        value: String,
        value_span: Span,
    },
    /// A setting, or all of them.
    Reset(Option<Ident>),
    Explain {
        detail: Detail,
        statement: Box<StatementKind>,
    },
    CreateFunction(Box<ast::CreateFunction>),
}

/// Reads all statements of a text.
pub(crate) fn parse(sql: &str) -> Result<Vec<Statement>> {
    let mut tokens = Tokenizer::new(&DIALECT, sql).tokenize_with_location().map_err(|e| {
        let span = Span { line: e.location.line, column: e.location.column };
        at(Error::invalid(e.message).with_help("a text begins and ends with ', a comment with /* and */"), span)
    })?;
    without_table_words(&mut tokens);
    question_operators(&mut tokens);
    let (tokens, mut versions) = take_clauses(tokens)?;
    let mut read = tokens.clone();
    respell_as_of(&mut read);
    let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(read);
    let mut statements = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        let first = parser.peek_token();
        if first.token == Token::EOF {
            check_put_back(&versions)?;
            return Ok(statements);
        }
        let start = parser.index();
        let kind = parse_one(&mut parser, &mut versions)?;
        let place = Place::new(tokens.get(start..parser.index()).unwrap_or_default());
        statements.push(Statement { kind, place });
        let next = parser.peek_token();
        if next.token != Token::SemiColon && next.token != Token::EOF {
            return Err(unexpected("the end of the statement", &next).with_help(help_after_statement(&next.token)));
        }
    }
}

/// Says what to do about a clause that other dialects have at the end of a statement.
fn help_after_statement(next: &Token) -> &'static str {
    match next.to_string().to_uppercase().as_str() {
        "EMIT" => "leave it out: a window is shown once, when it closes; SET emit = 'changes' shows it before that",
        "FORMAT" => "write format = '…' among the options of WITH",
        "LIKE" => "list the columns, or leave them out where the connector or the query knows them",
        _ => "end each statement with ';'",
    }
}

/// Reads one expression and nothing else.
pub(crate) fn parse_expression(text: &str) -> Result<ast::Expr> {
    let mut expr = parse_unspelt(text)?;
    respell(&mut expr);
    Ok(expr)
}

/// Reads a text that stands at a place of a statement and holds one thing.
pub(crate) fn parse_at<T>(
    text: &str,
    start: Span,
    read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Result<T> {
    let shift = |line: &mut u64, column: &mut u64| {
        if *line == 1 {
            *column += start.column.saturating_sub(1);
        }
        *line += start.line.saturating_sub(1);
    };
    let mut tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|mut e| {
        shift(&mut e.location.line, &mut e.location.column);
        at(Error::invalid(e.message), Span { line: e.location.line, column: e.location.column })
    })?;
    for token in &mut tokens {
        shift(&mut token.span.start.line, &mut token.span.start.column);
        shift(&mut token.span.end.line, &mut token.span.end.column);
    }
    question_operators(&mut tokens);
    let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
    let found = read(&mut parser).map_err(from_parser)?;
    let next = parser.peek_token();
    if next.token == Token::EOF { Ok(found) } else { Err(unexpected("the end of the expression", &next)) }
}

/// As [`parse_expression`], exactly as it is written.
pub(crate) fn parse_unspelt(text: &str) -> Result<ast::Expr> {
    let mut parser = Parser::new(&DIALECT).try_with_sql(text).map_err(from_parser)?;
    let expr = parser.parse_expr().map_err(from_parser)?;
    let next = parser.peek_token();
    if next.token == Token::EOF { Ok(expr) } else { Err(unexpected("the end of the expression", &next)) }
}

/// Reads a query that a program wrote.
pub(crate) fn parse_query(text: &str) -> Result<Box<Query>> {
    Parser::new(&DIALECT).try_with_sql(text).and_then(|mut parser| parser.parse_query()).map_err(from_parser)
}

fn parse_one(parser: &mut Parser<'_>, versions: &mut [Clause]) -> Result<StatementKind> {
    let first = parser.peek_token();
    // In Flink and Arroyo lookup tables are TEMPORARY; here every table is.
    if parser.parse_keywords(&[Keyword::CREATE, Keyword::TABLE])
        || parser.parse_keywords(&[Keyword::CREATE, Keyword::TEMPORARY, Keyword::TABLE])
    {
        return parse_create_table(parser).map(|table| StatementKind::CreateTable(Box::new(table)));
    }
    if parser.parse_keyword(Keyword::SET) {
        return parse_set(parser);
    }
    if parser.parse_keyword(Keyword::RESET) {
        let name = (!parser.parse_keyword(Keyword::ALL)).then(|| parser.parse_identifier().map_err(from_parser));
        return name.transpose().map(StatementKind::Reset);
    }
    if parser.parse_keyword(Keyword::EXPLAIN) {
        return parse_explain(parser, versions);
    }
    refuse_other_creates(parser)?;
    let mut statement = parser.parse_statement().map_err(from_parser)?;
    put_back(&mut statement, versions);
    respell(&mut statement);
    let refuse = |message: String, help: &str| Err(at(Error::invalid(message).with_help(help), span_of(first.span)));
    match statement {
        ast::Statement::Query(query) => Ok(StatementKind::Select(query)),
        ast::Statement::CreateView(view) => {
            if view.materialized {
                return refuse(
                    "a view cannot be materialized here".into(),
                    "leave out MATERIALIZED, or INSERT INTO a table",
                );
            }
            let columns = view.columns.into_iter().map(|column| column.name).collect();
            Ok(StatementKind::CreateView { name: single_name(view.name)?, columns, query: view.query })
        }
        ast::Statement::CreateFunction(create) => Ok(StatementKind::CreateFunction(Box::new(create))),
        ast::Statement::Insert(insert) => {
            let TableObject::TableName(table) = insert.table else {
                return refuse("INSERT needs the name of a table".into(), "write INSERT INTO table SELECT …");
            };
            let Some(query) = insert.source.filter(|_| insert.on.is_none() && insert.returning.is_none()) else {
                return refuse("INSERT takes a query and nothing else".into(), "write INSERT INTO table SELECT …");
            };
            let columns = insert.columns.into_iter().map(single_name).collect::<Result<_>>()?;
            Ok(StatementKind::Insert { table: single_name(table)?, columns, query })
        }
        _ => {
            let word = first.token.to_string().to_uppercase();
            refuse(
                format!("the statement {word} is not supported"),
                "a pipeline is made of CREATE TABLE, CREATE VIEW, CREATE FUNCTION, INSERT INTO … SELECT, SELECT, SET, RESET and EXPLAIN",
            )
        }
    }
}

/// RisingWave's forms of what is one statement, or two, here.
fn refuse_other_creates(parser: &Parser<'_>) -> Result<()> {
    let word = |n: usize| parser.peek_nth_token(n).token.to_string().to_uppercase();
    let what = word(1);
    let help = match (word(0).as_str(), what.as_str()) {
        ("CREATE", "SOURCE") => "write CREATE TABLE name (columns) WITH (connector = '…', type = 'source', …)",
        ("CREATE", "SINK") => "write CREATE TABLE name WITH (connector = '…', …); INSERT INTO name SELECT …",
        _ => return Ok(()),
    };
    let error = Error::invalid(format!("CREATE {what} is not supported"));
    Err(at(error.with_help(help), span_of(parser.peek_nth_token(1).span)))
}

fn parse_explain(parser: &mut Parser<'_>, versions: &mut [Clause]) -> Result<StatementKind> {
    let token = parser.peek_token();
    let detail = match token.token.to_string().to_uppercase().as_str() {
        "VERBOSE" => Detail::Verbose,
        "CHANGES" => Detail::Changes,
        "ANALYZE" => {
            let error = Error::invalid("EXPLAIN ANALYZE is not supported: a query is explained, not run");
            return Err(at(error.with_help("run the file with headwater explain --analyze"), span_of(token.span)));
        }
        _ => Detail::Plan,
    };
    if detail != Detail::Plan {
        parser.next_token();
    }
    let next = parser.peek_token();
    match parse_one(parser, versions)? {
        statement @ (StatementKind::Select(_) | StatementKind::Insert { .. }) => {
            Ok(StatementKind::Explain { detail, statement: Box::new(statement) })
        }
        _ => {
            let error = Error::invalid("EXPLAIN takes a query");
            Err(at(error.with_help("write EXPLAIN SELECT … or EXPLAIN INSERT INTO … SELECT …"), span_of(next.span)))
        }
    }
}

fn parse_set(parser: &mut Parser<'_>) -> Result<StatementKind> {
    let name = parser.parse_identifier().map_err(from_parser)?;
    if !parser.consume_token(&Token::Eq) && !parser.parse_keyword(Keyword::TO) {
        return Err(unexpected("'='", &parser.peek_token()).with_help("write SET name = 'value'"));
    }
    if parser.parse_keyword(Keyword::DEFAULT) {
        return Ok(StatementKind::Reset(Some(name)));
    }
    let (value, value_span) = parse_value(parser)?;
    Ok(StatementKind::Set { name, value, value_span })
}

/// Reads the value of an option or setting: a string, a number, a word or a signed number.
pub(crate) fn parse_value(parser: &mut Parser<'_>) -> Result<(String, Span)> {
    let token = parser.next_token();
    let span = span_of(token.span);
    let value = match token.token {
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text,
        Token::Number(text, _) => text,
        Token::Word(word) => word.value,
        Token::Minus => {
            let (number, _) = parse_value(parser)?;
            format!("-{number}")
        }
        _ => return Err(unexpected("a value", &token).with_help("write the value in single quotes")),
    };
    Ok((value, span))
}

/// Returns the only part of a name.
pub(crate) fn single_name(name: ObjectName) -> Result<Ident> {
    let text = name.to_string();
    let mut parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
    let span = parts.first().map(|ident| span_of(ident.span));
    match (parts.pop(), parts.is_empty()) {
        (Some(ident), true) => Ok(ident),
        _ => {
            let error = Error::invalid(format!("the name '{text}' has several parts")).with_help("names have one part");
            Err(span.map_or(error.clone(), |span| error.with_place(span)))
        }
    }
}

/// Returns a name as it is looked up: folded to lower case unless it is quoted.
pub(crate) fn normalized(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Makes the error for a token that does not fit.
pub(crate) fn unexpected(expected: &str, found: &TokenWithSpan) -> Error {
    let what = if found.token == Token::EOF { "the end of the text".to_owned() } else { format!("'{}'", found.token) };
    let error = Error::invalid(format!("expected {expected}, found {what}"));
    if found.span.start.line == 0 { error } else { at(error, span_of(found.span)) }
}

/// Turns an error of sqlparser into one with a place.
pub(crate) fn from_parser(error: ParserError) -> Error {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
    };
    let (text, span) = match message.rsplit_once(" at Line: ") {
        Some((text, place)) => (text.to_owned(), parse_place(place)),
        None => (message, None),
    };
    let text =
        text.replace("Expected: ", "expected ").replace(", found: ", ", found ").replace("sql parser error: ", "");
    let error = Error::invalid(text.replace("found EOF", "found the end of the text"));
    match span {
        Some(span) => error.with_place(span),
        None => error,
    }
}

fn parse_place(place: &str) -> Option<Span> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Span { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

fn at(error: Error, span: Span) -> Error {
    error.with_place(span)
}
