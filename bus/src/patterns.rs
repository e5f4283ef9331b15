//! Patterns of subjects: `*` is one token, `>` all that follow. Pure.

use headwater_core::{Error, Result};

/// Refuses what is no pattern.
pub(crate) fn check(pattern: &str) -> Result<()> {
    let n_tokens = pattern.split('.').count();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_token = |(index, token): (usize, &str)| match token {
        "*" => true,
        ">" => index + 1 == n_tokens,
        token => !token.is_empty() && token.chars().all(is_plain),
    };
    if pattern.split('.').enumerate().all(is_token) {
        return Ok(());
    }
    Err(Error::invalid(format!("'{pattern}' is no subject"))
        .with_help("name an event type, or a pattern: 'buddy.*.created', 'buddy.>', '>' for all"))
}

/// Returns the pattern as a regular expression over the names of topics, as librdkafka reads them.
pub(crate) fn regex(pattern: &str) -> String {
    let token = |token: &str| match token {
        "*" => "[^.]+".to_owned(),
        ">" => ".+".to_owned(),
        token => token.to_owned(),
    };
    format!("^{}$", pattern.split('.').map(token).collect::<Vec<_>>().join("\\."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_checked_and_become_expressions() {
        assert_eq!(regex("buddy.*.created"), "^buddy\\.[^.]+\\.created$");
        assert_eq!(regex("buddy.>"), "^buddy\\..+$");
        for good in [">", "a", "a.*", "a-b.c_d.>"] {
            check(good).expect("a pattern");
        }
        for bad in ["", "a..b", "a.>.b", "a*", "a b"] {
            check(bad).expect_err("no pattern");
        }
    }
}
