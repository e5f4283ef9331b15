//! Valid events of any contract, made from its fields and a seed: the same seed gives the same event. It holds no state
//! but the seed's stream and makes lists of at most three items.

use headwater_contracts::{Contract, FieldShape, Form, Kind, Range, TextRule};
use serde_json::{Map, Value, json};

/// A stream of numbers from a seed (splitmix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than a usize")
    }

    pub(crate) fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        uuid::Uuid::from_u64_pair(high, low).to_string()
    }
}

/// Makes a valid event.
pub(crate) fn event(contract: &Contract, seed: u64) -> Value {
    let numbers = &mut Numbers(seed);
    let mut metadata = json!({"id": numbers.uuid(), "version": "v1", "timestamp": time(numbers)});
    if numbers.below(2) == 0 {
        metadata["metadata"] = json!({"companyId": numbers.uuid(), "note": "ø \" \\ \n"});
    }
    json!({"type": contract.event_type(), "data": object(contract.fields(), numbers), "metadata": metadata})
}

fn object(fields: &[FieldShape], numbers: &mut Numbers) -> Value {
    let mut object = Map::new();
    for field in fields {
        match numbers.below(4) {
            0 if !field.required => {}
            1 if !field.required => {
                object.insert(field.name.clone(), Value::Null);
            }
            _ => {
                object.insert(field.name.clone(), value(&field.kind, numbers));
            }
        }
    }
    Value::Object(object)
}

fn value(kind: &Kind, numbers: &mut Numbers) -> Value {
    match kind {
        Kind::Text(rule) => text(rule, numbers).into(),
        Kind::Time => time(numbers).into(),
        Kind::Int(range) => whole(range, numbers).into(),
        Kind::Float(range) if numbers.below(3) == 0 => whole(range, numbers).into(),
        Kind::Float(range) => {
            let (least, most) = bounds(range);
            let share = numbers.below(1000) as f64 / 1000.0;
            (most - (most - least) * share).into()
        }
        Kind::Bool => (numbers.below(2) == 0).into(),
        Kind::Map => json!({"any": [1, "two", {"three": null}]}),
        Kind::Object(fields) => object(fields, numbers),
        Kind::List(item) => (0..numbers.below(4)).map(|_| value(&item.kind, numbers)).collect(),
    }
}

fn bounds(range: &Range) -> (f64, f64) {
    let least = range.minimum.or(range.above).unwrap_or(-1000.0);
    (least, range.maximum.unwrap_or(least + 1000.0))
}

fn whole(range: &Range, numbers: &mut Numbers) -> i64 {
    let (least, most) = bounds(range);
    let span = usize::try_from((most - least) as i64).expect("the greatest is above the least");
    most as i64 - i64::try_from(numbers.below(span.max(1))).expect("a small number")
}

fn time(numbers: &mut Numbers) -> String {
    let (day, hour) = (numbers.below(28) + 1, numbers.below(24));
    let offset = ["Z", "+00:00", "+05:30", "-08:00"][numbers.below(4)];
    let fraction = ["", ".5", ".123456789"][numbers.below(3)];
    format!("2024-{:02}-{day:02}T{hour:02}:30:00{fraction}{offset}", numbers.below(12) + 1)
}

fn text(rule: &TextRule, numbers: &mut Numbers) -> String {
    if !rule.choices.is_empty() {
        return rule.choices[numbers.below(rule.choices.len())].clone();
    }
    match rule.form {
        Form::Uuid => numbers.uuid(),
        Form::Email => format!("person{}@example.org", numbers.below(1000)),
        Form::Uri => format!("https://example.org/{}", numbers.below(1000)),
        Form::Plain if rule.pattern.is_some() => "NOK".to_owned(),
        Form::Plain => {
            let words = ["", "Grønn", "Київ", "a \"quoted\" word", "line\nbreak", "😀", "plain"];
            words[numbers.below(words.len())].to_owned()
        }
    }
}
