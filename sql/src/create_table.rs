//! The syntax of `CREATE TABLE`: columns and what is said of them, `PRIMARY KEY`, `WATERMARK FOR`, `WITH (…)`. It never
//! looks at what a name or type means, keeps no state and reads each token once.

use crate::parser::{DIALECT, from_parser, parse_value, single_name, unexpected};
use crate::position::{WithPlace, span_of};
use crate::spelling::respell;
use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident};
use datafusion::sql::sqlparser::dialect::{Dialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{IsOptional, Parser};
use datafusion::sql::sqlparser::tokenizer::Token;
use headwater_core::{Error, Result, Span};

/// A table as written.
#[derive(Debug)]
pub(crate) struct TableSyntax {
    pub(crate) name: Ident,
    /// The columns in order; empty where they are left out.
    pub(crate) columns: Vec<ColumnSyntax>,
    pub(crate) primary_key: Vec<Ident>,
    /// `NOT ENFORCED`: the key is a promise about the rows, and nothing is done to keep it.
    pub(crate) key_is_promised: bool,
    pub(crate) watermark: Option<WatermarkSyntax>,
    /// The options of `WITH`; `None` for a table between statements.
    pub(crate) options: Option<Vec<OptionSyntax>>,
}

/// A column as written.
#[derive(Debug)]
pub(crate) struct ColumnSyntax {
    pub(crate) name: Ident,
    /// The type; `None` for `name AS expression`, which has that of the expression.
    pub(crate) data_type: Option<DataType>,
    pub(crate) type_span: Span,
    pub(crate) not_null: bool,
    pub(crate) default: Option<Placed<Expr>>,
    pub(crate) generated: Option<Placed<Expr>>,
    /// The key of `METADATA FROM 'key'`.
    pub(crate) metadata: Option<Placed<String>>,
}

/// Something and where it is written.
#[derive(Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// `WATERMARK FOR column [AS expression]`.
#[derive(Debug)]
pub(crate) struct WatermarkSyntax {
    pub(crate) column: Ident,
    pub(crate) expression: Option<Placed<Expr>>,
}

/// One option of `WITH`.
#[derive(Debug)]
pub(crate) struct OptionSyntax {
    pub(crate) name: String,
    pub(crate) value: String,
    /// The value as it was written, where variables were put in.
    pub(crate) written: Option<String>,
    pub(crate) span: Span,
}

/// Reads what follows `CREATE TABLE`.
pub(crate) fn parse_create_table(parser: &mut Parser<'_>) -> Result<TableSyntax> {
    if parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]) {
        let error = Error::invalid("IF NOT EXISTS means nothing here: the tables of a pipeline begin with it");
        let span = span_of(parser.peek_token().span);
        return Err(error.with_help("leave it out").with_place(span));
    }
    let name = single_name(parser.parse_object_name(false).map_err(from_parser)?)?;
    let mut table = TableSyntax {
        name,
        columns: Vec::new(),
        primary_key: Vec::new(),
        key_is_promised: false,
        watermark: None,
        options: None,
    };
    if parser.consume_token(&Token::LParen) {
        parse_elements(parser, &mut table)?;
    }
    if parser.parse_keyword(Keyword::WITH) {
        table.options = Some(parse_options(parser)?);
    }
    let next = parser.peek_token();
    if parser.parse_keyword(Keyword::AS) {
        return Err(refused(
            "CREATE TABLE … AS SELECT is not supported",
            "write CREATE VIEW … AS SELECT …, or CREATE TABLE and then INSERT INTO … SELECT …",
            span_of(next.span),
        ));
    }
    Ok(table)
}

fn parse_elements(parser: &mut Parser<'_>, table: &mut TableSyntax) -> Result<()> {
    loop {
        let token = parser.peek_token();
        if is_word(&token.token, "WATERMARK") && parser.peek_nth_token(1).token.to_string().eq_ignore_ascii_case("FOR")
        {
            let watermark = parse_watermark(parser)?;
            if table.watermark.replace(watermark).is_some() {
                let error = Error::invalid("a table has one watermark").with_help("remove the second WATERMARK FOR");
                return Err(error.with_place(span_of(token.span)));
            }
        } else if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
            set_primary_key(parser, table, span_of(token.span))?;
        } else {
            let column = parse_column(parser, table)?;
            table.columns.push(column);
        }
        if parser.consume_token(&Token::RParen) {
            return Ok(());
        }
        if !parser.consume_token(&Token::Comma) {
            return Err(unexpected("',' or ')' after a column", &parser.peek_token()));
        }
    }
}

fn set_primary_key(parser: &mut Parser<'_>, table: &mut TableSyntax, span: Span) -> Result<()> {
    let columns = parser.parse_parenthesized_column_list(IsOptional::Mandatory, false).map_err(from_parser)?;
    if !table.primary_key.is_empty() {
        let error = Error::invalid("a table has one primary key");
        return Err(error.with_help("write PRIMARY KEY (a, b) once, for all of its columns").with_place(span));
    }
    table.primary_key = columns;
    table.key_is_promised = parse_not_enforced(parser);
    Ok(())
}

fn parse_not_enforced(parser: &mut Parser<'_>) -> bool {
    parser.parse_keywords(&[Keyword::NOT, Keyword::ENFORCED])
}

fn parse_watermark(parser: &mut Parser<'_>) -> Result<WatermarkSyntax> {
    parser.next_token();
    parser.next_token();
    let column = parser.parse_identifier().map_err(from_parser)?;
    let has_expression = parser.parse_keyword(Keyword::AS);
    let span = span_of(parser.peek_token().span);
    let expression = has_expression.then(|| parse_whole_expression(parser)).transpose()?;
    let expression = expression.map(|value| Placed { value, span });
    Ok(WatermarkSyntax { column, expression })
}

fn parse_column(parser: &mut Parser<'_>, table: &mut TableSyntax) -> Result<ColumnSyntax> {
    refuse_constraint(parser)?;
    let name = parser.parse_identifier().map_err(from_parser)?;
    let type_span = span_of(parser.peek_token().span);
    let is_computed = parser.peek_token().token.to_string().eq_ignore_ascii_case("AS");
    let data_type = if is_computed { None } else { Some(parser.parse_data_type().map_err(from_parser)?) };
    let (default, generated, metadata) = (None, None, None);
    let mut column = ColumnSyntax { name, data_type, type_span, not_null: false, default, generated, metadata };
    while parse_column_part(parser, table, &mut column)? {}
    let next = parser.peek_token();
    if next.token != Token::Comma && next.token != Token::RParen {
        return Err(unexpected("',' or ')' after a column", &next).with_help(
            "a column is a name, a type, and possibly NOT NULL, PRIMARY KEY, DEFAULT …, GENERATED ALWAYS AS (…) or \
             METADATA FROM '…'",
        ));
    }
    Ok(column)
}

/// Reads one thing that is said of a column; returns whether there was one.
fn parse_column_part(parser: &mut Parser<'_>, table: &mut TableSyntax, column: &mut ColumnSyntax) -> Result<bool> {
    refuse_constraint(parser)?;
    let token = parser.peek_token();
    let span = span_of(token.span);
    if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
        column.not_null = true;
    } else if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
        if !table.primary_key.is_empty() {
            let help = "write PRIMARY KEY (a, b) once, for all of its columns";
            return Err(refused("a table has one primary key", help, span));
        }
        table.primary_key.push(column.name.clone());
        table.key_is_promised = parse_not_enforced(parser);
        column.not_null = true;
    } else if parser.parse_keyword(Keyword::DEFAULT) {
        column.default = Some(Placed { value: parse_expression(parser)?, span });
    } else if parser.parse_keyword(Keyword::AS) {
        column.generated = Some(Placed { value: parse_expression(parser)?, span });
    } else if parser.parse_keywords(&[Keyword::GENERATED, Keyword::ALWAYS, Keyword::AS]) {
        if parser.peek_token().token != Token::LParen {
            let error = unexpected("'(' after GENERATED ALWAYS AS", &parser.peek_token());
            return Err(error.with_help("write name type GENERATED ALWAYS AS (expression)"));
        }
        column.generated = Some(Placed { value: parse_expression(parser)?, span });
        let _ = parser.parse_one_of_keywords(&[Keyword::STORED, Keyword::VIRTUAL]);
    } else if is_word(&token.token, "METADATA") {
        column.metadata = Some(parse_metadata(parser, column)?);
    } else if !parser.parse_keyword(Keyword::NULL) {
        return Ok(false);
    }
    Ok(true)
}

fn parse_metadata(parser: &mut Parser<'_>, column: &ColumnSyntax) -> Result<Placed<String>> {
    let token = parser.next_token();
    let mut key = Placed { value: column.name.value.clone(), span: span_of(token.span) };
    if parser.parse_keyword(Keyword::FROM) {
        let (value, span) = parse_value(parser)?;
        key = Placed { value, span };
    }
    let _ = parser.parse_keyword(Keyword::VIRTUAL);
    Ok(key)
}

fn parse_whole_expression(parser: &mut Parser<'_>) -> Result<Expr> {
    let mut expression = parser.parse_expr().map_err(from_parser)?;
    respell(&mut expression);
    Ok(expression)
}

/// Reads the expression of a column. It ends before `NOT NULL`, which is said of the column: `IS`, `AND` and `OR` stand
/// in parentheses.
fn parse_expression(parser: &mut Parser<'_>) -> Result<Expr> {
    let mut expression = parser.parse_subexpr(DIALECT.prec_value(Precedence::Is)).map_err(from_parser)?;
    let next = parser.peek_token();
    if ["IS", "AND", "OR"].iter().any(|word| is_word(&next.token, word)) {
        let error = unexpected("',' or ')' after an expression", &next);
        return Err(error.with_help("put the expression in parentheses"));
    }
    respell(&mut expression);
    Ok(expression)
}

/// Refuses what SQL knows and a stream does not keep.
fn refuse_constraint(parser: &Parser<'_>) -> Result<()> {
    let token = parser.peek_token();
    let help = match token.token.to_string().to_uppercase().as_str() {
        "UNIQUE" => "leave it out, or declare PRIMARY KEY (…)",
        "CHECK" => "filter in a view: CREATE VIEW … AS SELECT … WHERE …",
        "REFERENCES" | "FOREIGN" => "leave it out: other tables are joined, not checked",
        "CONSTRAINT" => "leave the name out: write PRIMARY KEY (…) alone",
        _ => return Ok(()),
    };
    let followed_by_type = parser.peek_nth_token(1).token;
    // A column may have such a name; then its type follows.
    if matches!(followed_by_type, Token::Word(ref word) if word.keyword != Keyword::KEY && is_type_word(&word.value)) {
        return Ok(());
    }
    let word = token.token.to_string().to_uppercase();
    Err(refused(&format!("{word} is not supported"), help, span_of(token.span)))
}

fn is_type_word(word: &str) -> bool {
    ["TEXT", "INT", "BIGINT", "BOOLEAN", "DOUBLE", "FLOAT", "TIMESTAMP", "DATE", "VARCHAR", "DECIMAL"]
        .iter()
        .any(|name| word.eq_ignore_ascii_case(name))
}

fn refused(message: &str, help: &str, span: Span) -> Error {
    Error::invalid(message).with_help(help).with_place(span)
}

fn parse_options(parser: &mut Parser<'_>) -> Result<Vec<OptionSyntax>> {
    if !parser.consume_token(&Token::LParen) {
        return Err(unexpected("'(' after WITH", &parser.peek_token()));
    }
    let mut options: Vec<OptionSyntax> = Vec::new();
    while !parser.consume_token(&Token::RParen) {
        let (name, span) = parse_option_name(parser)?;
        if !parser.consume_token(&Token::Eq) {
            return Err(unexpected("'=' after the name of an option", &parser.peek_token()));
        }
        let (value, _) = parse_value(parser)?;
        if options.iter().any(|option| option.name == name) {
            let error = Error::invalid(format!("the option '{name}' is given twice")).with_help("remove one of them");
            return Err(error.with_place(span));
        }
        options.push(OptionSyntax { name, value, written: None, span });
        if !parser.consume_token(&Token::Comma) && parser.peek_token().token != Token::RParen {
            return Err(unexpected("',' or ')' after an option", &parser.peek_token()));
        }
    }
    Ok(options)
}

fn parse_option_name(parser: &mut Parser<'_>) -> Result<(String, Span)> {
    let token = parser.next_token();
    let span = span_of(token.span);
    let mut name = match token.token {
        Token::Word(word) => word.value,
        Token::SingleQuotedString(text) => text,
        _ => return Err(unexpected("the name of an option", &token)),
    };
    while parser.consume_token(&Token::Period) {
        name.push('.');
        name.push_str(&parser.parse_identifier().map_err(from_parser)?.value);
    }
    Ok((name, span))
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}
