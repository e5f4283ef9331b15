//! The syntax of `CREATE TABLE`: columns, `PRIMARY KEY`, `WATERMARK FOR`, `WITH (…)`. It never looks at what a name or
//! type means, keeps no state and reads each token once.

use crate::parser::{from_parser, parse_value, single_name, unexpected};
use crate::position::{WithPlace, span_of};
use crate::spelling::respell;
use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident};
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
    pub(crate) watermark: Option<WatermarkSyntax>,
    /// The options of `WITH`; `None` for a table between statements.
    pub(crate) options: Option<Vec<OptionSyntax>>,
}

/// A column as written.
#[derive(Debug)]
pub(crate) struct ColumnSyntax {
    pub(crate) name: Ident,
    pub(crate) data_type: DataType,
    pub(crate) type_span: Span,
    pub(crate) not_null: bool,
}

/// `WATERMARK FOR column [AS expression]`.
#[derive(Debug)]
pub(crate) struct WatermarkSyntax {
    pub(crate) column: Ident,
    pub(crate) expression: Option<Expr>,
}

/// One option of `WITH`.
#[derive(Debug)]
pub(crate) struct OptionSyntax {
    pub(crate) name: String,
    pub(crate) value: String,
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
    let mut table = TableSyntax { name, columns: Vec::new(), primary_key: Vec::new(), watermark: None, options: None };
    if parser.consume_token(&Token::LParen) {
        parse_elements(parser, &mut table)?;
    }
    if parser.parse_keyword(Keyword::WITH) {
        table.options = Some(parse_options(parser)?);
    }
    let next = parser.peek_token();
    if parser.parse_keyword(Keyword::AS) {
        return Err(unexpected("the end of the table", &next)
            .with_help("write CREATE VIEW … AS SELECT …, or CREATE TABLE and then INSERT INTO … SELECT …"));
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
    Ok(())
}

fn parse_watermark(parser: &mut Parser<'_>) -> Result<WatermarkSyntax> {
    parser.next_token();
    parser.next_token();
    let column = parser.parse_identifier().map_err(from_parser)?;
    let has_expression = parser.parse_keyword(Keyword::AS);
    let mut expression = has_expression.then(|| parser.parse_expr().map_err(from_parser)).transpose()?;
    expression.iter_mut().for_each(respell);
    Ok(WatermarkSyntax { column, expression })
}

fn parse_column(parser: &mut Parser<'_>, table: &mut TableSyntax) -> Result<ColumnSyntax> {
    let name = parser.parse_identifier().map_err(from_parser)?;
    let type_span = span_of(parser.peek_token().span);
    let data_type = parser.parse_data_type().map_err(from_parser)?;
    let mut not_null = false;
    loop {
        let token = parser.peek_token();
        if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            not_null = true;
        } else if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
            if !table.primary_key.is_empty() {
                let error = Error::invalid("a table has one primary key");
                let help = "write PRIMARY KEY (a, b) once, for all of its columns";
                return Err(error.with_help(help).with_place(span_of(token.span)));
            }
            table.primary_key.push(name.clone());
            not_null = true;
        } else if !parser.parse_keyword(Keyword::NULL) {
            break;
        }
    }
    let next = parser.peek_token();
    if next.token != Token::Comma && next.token != Token::RParen {
        return Err(unexpected("',' or ')' after a column", &next)
            .with_help("a column is a name, a type, and possibly NOT NULL or PRIMARY KEY"));
    }
    Ok(ColumnSyntax { name, data_type, type_span, not_null })
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
        options.push(OptionSyntax { name, value, span });
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
