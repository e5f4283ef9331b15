//! Three facts have two contracts each, one as other platforms send it and one of our own. The file
//! `mappings/external_to_ingest.json` says which field and which value of the one is which of the other; this reads it.
//! It converts no events; its state is that file, read once.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A contract and the canonical one for the same fact.
#[derive(Debug, Deserialize)]
pub struct CanonicalPair {
    /// The event type as other platforms send it.
    pub from: String,
    /// The canonical event type.
    pub to: String,
    /// For each field its canonical field; both are paths below `data`.
    pub fields: BTreeMap<String, String>,
    /// For each field that is a list of values the canonical value of each.
    pub values: BTreeMap<String, BTreeMap<String, String>>,
    /// Why a value stands for another where the names do not say it.
    pub reasons: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct File {
    pairs: Vec<CanonicalPair>,
}

static PAIRS: LazyLock<Vec<CanonicalPair>> = LazyLock::new(|| {
    let file: Result<File, _> = serde_json::from_str(include_str!("../mappings/external_to_ingest.json"));
    file.expect("the mapping is part of the program, and a test reads it").pairs
});

/// Returns all pairs.
#[must_use]
pub fn canonical_pairs() -> &'static [CanonicalPair] {
    &PAIRS
}

/// Returns the canonical value of a field: `canonical("external.volunteer.logged", "activityType", "skills_based")` is
/// `skills_volunteering`. `None` when the type is canonical already or the value has no counterpart.
#[must_use]
pub fn canonical(event_type: &str, field: &str, value: &str) -> Option<&'static str> {
    let pair = PAIRS.iter().find(|pair| pair.from == event_type)?;
    pair.values.get(field)?.get(value).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{find, object_fields};
    use crate::shape::{FieldShape, Kind};

    fn choices(shape: &FieldShape) -> &[String] {
        match &shape.kind {
            Kind::Text(rule) => &rule.choices,
            _ => &[],
        }
    }

    fn field<'a>(root: &'a FieldShape, path: &str) -> &'a FieldShape {
        path.split('.').fold(root, |shape, name| {
            let found = object_fields(shape).iter().find(|field| field.name == name);
            found.unwrap_or_else(|| panic!("{} has no field '{path}'", root.path))
        })
    }

    #[test]
    fn every_value_of_every_list_has_a_canonical_value_that_exists() {
        for pair in canonical_pairs() {
            let (from, to) = (&find(&pair.from).expect("a contract").data, &find(&pair.to).expect("a contract").data);
            for (name, other) in &pair.fields {
                let (given, canonical) = (field(from, name), field(to, other));
                assert_eq!(given.data_type(), canonical.data_type(), "{name} and {other} hold the same kind of value");
                let values = pair.values.get(name);
                assert_eq!(values.is_some(), !choices(given).is_empty() && !choices(canonical).is_empty(), "{name}");
                for choice in values.map(|_| choices(given)).unwrap_or_default() {
                    let value = super::canonical(&pair.from, name, choice).expect("every value has a counterpart");
                    assert!(choices(canonical).iter().any(|known| known == value), "{name}: {choice} is {value}");
                }
            }
        }
    }

    #[test]
    fn what_is_canonical_already_has_no_counterpart() {
        let skills = canonical("external.volunteer.logged", "activityType", "skills_based");
        assert_eq!(skills, Some("skills_volunteering"));
        assert_eq!(canonical("ingest.volunteer.logged", "activityType", "pro_bono"), None);
    }
}
