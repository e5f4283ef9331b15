//! Names that a user may have meant. Pure; the length of every list that it prints is bounded.

use datafusion::common::utils::datafusion_strsim::levenshtein;

/// The longest list of names that a help text spells out.
const NAMES_SHOWN_MAX: usize = 20;
/// The most suggestions that are given for one name.
const SUGGESTIONS_MAX: usize = 3;

/// Returns the names nearest to a wrong one, nearest first; empty when none is near.
pub(crate) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    let limit = wrong.chars().count().div_ceil(3);
    let distance = |name: &str| levenshtein(&wrong, &name.to_lowercase());
    let mut near: Vec<(usize, &str)> = names.into_iter().map(|name| (distance(name), name)).collect();
    near.retain(|(distance, _)| *distance <= limit);
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name).collect()
}

/// Says what a name may have been: the near ones, or else all of them.
pub(crate) fn help_for_name(what: &str, wrong: &str, names: &[&str]) -> String {
    let near = nearest(wrong, names.iter().copied());
    if !near.is_empty() {
        return format!("did you mean {}?", near.join(", "));
    }
    if names.is_empty() {
        return format!("there are no {what} yet");
    }
    let shown: Vec<&str> = names.iter().copied().take(NAMES_SHOWN_MAX).collect();
    let more =
        if names.len() > shown.len() { format!(" and {} more", names.len() - shown.len()) } else { String::new() };
    format!("the {what} are: {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_come_first_and_far_ones_not_at_all() {
        assert_eq!(nearest("ratng", ["rating", "company_id", "rated"]), ["rating", "rated"]);
        assert_eq!(help_for_name("columns", "zzz", &["a", "b"]), "the columns are: a, b");
        assert_eq!(help_for_name("tables", "zzz", &[]), "there are no tables yet");
    }
}
