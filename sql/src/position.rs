//! Where in the user's text something is. It never changes the text; its state is the tokens of one statement.

use datafusion::sql::sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan};
use headwater_core::{Error, Span};

/// The place of what was not written as a text.
pub(crate) const UNKNOWN: Span = Span { line: 0, column: 0 };

/// Puts places on errors.
pub(crate) trait WithPlace {
    /// Adds a place, unless a more precise one is known already, or this one is unknown.
    fn with_place(self, span: Span) -> Self;
}

impl WithPlace for Error {
    fn with_place(self, span: Span) -> Self {
        if span == UNKNOWN { self } else { self.with_span(span) }
    }
}

/// Turns a place of sqlparser into one of ours.
pub(crate) fn span_of(span: TokenSpan) -> Span {
    Span { line: span.start.line, column: span.start.column }
}

/// The tokens of one statement, without white space and comments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    tokens: Vec<TokenWithSpan>,
}

impl Place {
    /// Keeps the tokens of a statement.
    pub(crate) fn new(tokens: &[TokenWithSpan]) -> Self {
        let kept = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::SemiColon));
        Self { tokens: kept.cloned().collect() }
    }

    /// Returns where the statement begins; line 0 where there is no text.
    pub(crate) fn start(&self) -> Span {
        self.tokens.first().map_or(UNKNOWN, |token| span_of(token.span))
    }

    /// Returns where a name is written: the first time it stands as a word of its own.
    pub(crate) fn find_name(&self, name: &str) -> Option<Span> {
        self.find_words(&[name])
    }

    /// Returns where a name is written for the first time at or after a place.
    pub(crate) fn find_name_from(&self, name: &str, from: Span) -> Option<Span> {
        let spans = self.tokens.iter().filter(|token| is_word(&token.token, name)).map(|token| span_of(token.span));
        spans.into_iter().find(|span| (span.line, span.column) >= (from.line, from.column))
    }

    /// Returns where words stand one after the other.
    pub(crate) fn find_words(&self, words: &[&str]) -> Option<Span> {
        let fits = |window: &[TokenWithSpan]| window.iter().zip(words).all(|(token, word)| is_word(&token.token, word));
        self.tokens.windows(words.len()).find(|window| fits(window)).map(|window| span_of(window[0].span))
    }

    /// Returns where words stand for the last time before a place.
    pub(crate) fn find_words_before(&self, words: &[&str], before: Span) -> Option<Span> {
        let fits = |window: &&[TokenWithSpan]| {
            let span = span_of(window[0].span);
            (span.line, span.column) <= (before.line, before.column)
                && window.iter().zip(words).all(|(token, word)| is_word(&token.token, word))
        };
        self.tokens.windows(words.len()).rfind(fits).map(|window| span_of(window[0].span))
    }

    /// Returns where a call of a function is written.
    pub(crate) fn find_call(&self, function: &str) -> Option<Span> {
        let fits = |pair: &&[TokenWithSpan]| is_word(&pair[0].token, function) && pair[1].token == Token::LParen;
        self.tokens.windows(2).find(fits).map(|pair| span_of(pair[0].span))
    }
}

fn is_word(token: &Token, text: &str) -> bool {
    matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(text))
}
