//! Reads JSON values straight into columns: one pass over the bytes, no tree in between. Only bytes that are not JSON are
//! an error; every other mistake is a fault of the row. It has no state of its own; the depth of what it reads is that
//! of the schema, since anything else is passed over without recursion.

use crate::column::{Column, Data, Row, offset};
use crate::rules::check_text;
use crate::shape::{FieldShape, Form, Kind, TextRule};
use headwater_core::Reason;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// Integers up to here are exact in a double; a greater one with a fraction sign is not taken for a whole number.
const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// Reads one value into a column.
pub(crate) struct Cell<'c, 's> {
    pub(crate) column: &'c mut Column<'s>,
    pub(crate) row: &'c mut Row,
}

impl<'de> DeserializeSeed<'de> for Cell<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !matches!(self.column.shape.kind, Kind::Map) {
            return deserializer.deserialize_any(self);
        }
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        match (raw.as_bytes().first(), &mut self.column.data) {
            (Some(b'{'), Data::Text(builder)) => {
                builder.append_value(raw);
                self.column.last_is_null = false;
                if self.column.shape.path == "metadata.metadata" {
                    read_company(raw, self.column.shape, self.row).map_err(D::Error::custom)?;
                }
            }
            (Some(b'n'), _) => self.column.push_absent(),
            _ => self.column.refuse_type(self.row, "another value"),
        }
        Ok(())
    }
}

/// Reads the company that the metadata of an event names.
fn read_company(raw: &str, shape: &FieldShape, row: &mut Row) -> Result<(), serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(rename = "companyId")]
        company_id: Option<Value>,
    }
    // A key that occurs twice is the only fault that is left in text which has been read once.
    let wrong = match serde_json::from_str::<Named>(raw) {
        Err(_) => "found the key twice or too deep a value".to_owned(),
        Ok(Named { company_id: None }) => return Ok(()),
        Ok(Named { company_id: Some(Value::String(text)) }) => {
            let rule = TextRule { form: Form::Uuid, ..TextRule::default() };
            match check_text(&rule, &text, false) {
                Ok(id) => {
                    row.company = Some(id.into_owned());
                    return Ok(());
                }
                Err((_, message)) => message,
            }
        }
        Ok(_) => "found another value, expected a uuid".to_owned(),
    };
    row.fault(shape.rank, "metadata.metadata.companyId", (Reason::MalformedField, wrong));
    Ok(())
}

impl<'de> Visitor<'de> for Cell<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.column.push_absent();
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        match &mut self.column.data {
            Data::Bool(builder) => {
                builder.append_value(value);
                self.column.last_is_null = false;
            }
            _ => self.column.refuse_type(self.row, if value { "true" } else { "false" }),
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "the double serves range checks and columns of doubles only")]
    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.column.push_number(self.row, value as f64, Some(value));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "the double serves range checks and columns of doubles only")]
    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.column.push_number(self.row, value as f64, i64::try_from(value).ok());
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "the number is whole and within the exact range")]
    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        let whole = (value.fract() == 0.0 && value.abs() <= EXACT_INTEGER_MAX).then_some(value as i64);
        self.column.push_number(self.row, value, whole);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.column.push_text(self.row, text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { column, row } = self;
        let Data::List { items, ends, valid } = &mut column.data else {
            column.refuse_type(row, "a list");
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let first = items.len();
        row.indexes.push(0);
        loop {
            let before = items.len();
            if seq.next_element_seed(Cell { column: items, row: &mut *row })?.is_none() {
                break;
            }
            debug_assert_eq!(items.len(), before + 1);
            if items.last_is_null {
                row.missing_item(items.shape);
            }
            if let Some(index) = row.indexes.last_mut() {
                *index = items.len() - first;
            }
        }
        row.indexes.pop();
        ends.push(offset(items.len()));
        valid.push(true);
        column.last_is_null = false;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { column, row } = self;
        let Data::Object { fields, valid } = &mut column.data else {
            column.refuse_type(row, "an object");
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let n_before = valid.len();
        while let Some(found) = map.next_key_seed(Key { fields: fields.as_slice() })? {
            let Some(field) = found.and_then(|index| fields.get_mut(index)) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if field.len() > n_before {
                let twice = (Reason::MalformedField, format!("the key '{}' occurs twice", field.shape.name));
                row.fault(field.shape.rank, &field.shape.path, twice);
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            map.next_value_seed(Cell { column: field, row: &mut *row })?;
        }
        let mut complete = true;
        for field in fields.iter_mut() {
            if field.len() == n_before {
                field.push_absent();
            }
            if field.last_is_null && field.shape.required {
                row.missing(field.shape);
            }
            complete &= !field.last_is_null || field.shape.nullable();
        }
        // An object that lacks what it must have counts as null: its row is filtered out, and until then no column
        // that promises to have no nulls shows one.
        valid.push(complete);
        column.last_is_null = false;
        Ok(())
    }
}

/// Reads a key and finds its field, without a copy of the key.
struct Key<'k, 's> {
    fields: &'k [Column<'s>],
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.fields.iter().position(|field| field.shape.name == key))
    }
}
