//! `normalize(text)`, `screen(text)` and `classify(text[, language])`: the text analysis of `headwater-text` in SQL.
//!
//! They never keep a text beyond the batch. Within a batch each distinct text is analysed once; memory is bounded by
//! the batch. Null in, null out; every text has an answer.

use super::scalar::{Argument, function};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int32Array, ListArray, StringArray, StructArray,
    UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::ScalarUDF;
use hashbrown::HashMap;
use headwater_text::{Classification, Language, Screened, Screener, classify as classify_one};
use std::sync::Arc;

/// Returns `normalize(text)`: the text in normal form (NFC, no invisible characters, plain quotes and dashes, single
/// blanks). Offsets that later functions return are offsets into what they are given, so store what you analyse.
#[must_use]
pub fn normalize() -> Arc<ScalarUDF> {
    function("normalize", &[Argument::Text], DataType::Utf8, |columns| {
        distinct(&columns[0], None, |texts| {
            let normal = texts.iter().map(|(text, _)| headwater_text::normalize(text).text);
            Ok(Arc::new(StringArray::from_iter_values(normal)))
        })
    })
}

/// Returns `screen(text)`: `Struct { text, decision, findings, categories }`, by a policy.
///
/// `text` is safe to store; `decision` is `allow`, `flag`, `review` or `block`; `findings` is a list of
/// `{ kind, start, end, placeholder }` with byte offsets into the input; `categories` lists kinds of harm.
#[must_use]
pub fn screen(screener: Screener) -> Arc<ScalarUDF> {
    function("screen", &[Argument::Text], DataType::Struct(screen_fields()), move |columns| {
        distinct(&columns[0], None, |texts| {
            screened(&texts.iter().map(|(text, _)| screener.screen(text)).collect::<Vec<_>>())
        })
    })
}

/// Returns `classify(text[, language])`: `Struct { language, abstained, method, model_version, labels, scores }`.
///
/// `labels` is a list of `{ label, start, end, snippet }`: byte offsets into the given text, and exactly that slice.
/// `scores` is a list of `{ dimension, score }` with one entry for each dimension that the text gives evidence for.
/// `language` declares what the writer is known to use (`en`, `nb`, `nn`, `no`, `uk`, with or without a region); it
/// decides only where the text says too little.
#[must_use]
pub fn classify() -> Arc<ScalarUDF> {
    let arguments = &[Argument::Text, Argument::OptionalText];
    function("classify", arguments, DataType::Struct(classify_fields()), |columns| {
        distinct(&columns[0], columns.get(1), classified)
    })
}

type Distinct<'a> = [(&'a str, Option<&'a str>)];

/// Evaluates each distinct pair of text and tag once and puts the answers where they belong.
fn distinct(
    texts: &ArrayRef,
    tags: Option<&ArrayRef>,
    evaluate: impl FnOnce(&Distinct<'_>) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let texts = texts.as_string::<i32>();
    let tags = tags.map(|tags| tags.as_string::<i32>());
    let mut seen = HashMap::new();
    let mut keys = Vec::new();
    let places: UInt32Array = (0..texts.len())
        .map(|row| {
            let tag = tags.filter(|tags| tags.is_valid(row)).map(|tags| tags.value(row));
            let key = texts.is_valid(row).then(|| (texts.value(row), tag))?;
            Some(*seen.entry(key).or_insert_with(|| {
                keys.push(key);
                keys.len() as u32 - 1
            }))
        })
        .collect();
    Ok(take(&evaluate(&keys)?, &places, None)?)
}

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn list_of(fields: Fields) -> DataType {
    DataType::List(field("item", DataType::Struct(fields)))
}

fn finding_fields() -> Fields {
    Fields::from(vec![
        field("kind", DataType::Utf8),
        field("start", DataType::Int32),
        field("end", DataType::Int32),
        field("placeholder", DataType::Utf8),
    ])
}

fn screen_fields() -> Fields {
    Fields::from(vec![
        field("text", DataType::Utf8),
        field("decision", DataType::Utf8),
        field("findings", list_of(finding_fields())),
        field("categories", DataType::List(field("item", DataType::Utf8))),
    ])
}

fn label_fields() -> Fields {
    Fields::from(vec![
        field("label", DataType::Utf8),
        field("start", DataType::Int32),
        field("end", DataType::Int32),
        field("snippet", DataType::Utf8),
    ])
}

fn score_fields() -> Fields {
    Fields::from(vec![field("dimension", DataType::Utf8), field("score", DataType::Decimal128(4, 3))])
}

fn classify_fields() -> Fields {
    Fields::from(vec![
        field("language", DataType::Utf8),
        field("abstained", DataType::Boolean),
        field("method", DataType::Utf8),
        field("model_version", DataType::Utf8),
        field("labels", list_of(label_fields())),
        field("scores", list_of(score_fields())),
    ])
}

/// Byte offsets of a text in one batch: a column of strings holds at most 2 GiB, so they fit.
fn offset(bytes: usize) -> Result<i32> {
    i32::try_from(bytes).map_err(|_| DataFusionError::Execution("a text is longer than 2 GiB".to_owned()))
}

fn offsets<T>(items: impl Iterator<Item = T>, read: impl Fn(T) -> usize) -> Result<ArrayRef> {
    let numbers = items.map(|item| offset(read(item))).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Int32Array::from(numbers)))
}

fn strings<S: AsRef<str>>(items: impl Iterator<Item = S>) -> ArrayRef {
    let items: Vec<S> = items.collect();
    Arc::new(StringArray::from_iter_values(items))
}

fn list(lengths: impl Iterator<Item = usize>, item: DataType, values: ArrayRef) -> Result<ArrayRef> {
    Ok(Arc::new(ListArray::try_new(field("item", item), OffsetBuffer::from_lengths(lengths), values, None)?))
}

fn screened(answers: &[Screened]) -> Result<ArrayRef> {
    let findings = || answers.iter().flat_map(|answer| &answer.findings);
    let items = StructArray::try_new(
        finding_fields(),
        vec![
            strings(findings().map(|finding| finding.kind.name())),
            offsets(findings(), |finding| finding.start)?,
            offsets(findings(), |finding| finding.end)?,
            strings(findings().map(|finding| &finding.placeholder)),
        ],
        None,
    )?;
    let categories = strings(answers.iter().flat_map(|answer| &answer.categories).map(|category| category.name()));
    let columns = vec![
        strings(answers.iter().map(|answer| &answer.text)),
        strings(answers.iter().map(|answer| answer.decision.name())),
        list(answers.iter().map(|answer| answer.findings.len()), items.data_type().clone(), Arc::new(items))?,
        list(answers.iter().map(|answer| answer.categories.len()), DataType::Utf8, categories)?,
    ];
    Ok(Arc::new(StructArray::try_new(screen_fields(), columns, None)?))
}

fn classified(texts: &Distinct<'_>) -> Result<ArrayRef> {
    let one = |(text, tag): &(&str, Option<&str>)| classify_one(text, tag.and_then(Language::from_tag));
    let answers: Vec<Classification> = texts.iter().map(one).collect();
    let evidence =
        || answers.iter().zip(texts).flat_map(|(answer, (text, _))| answer.evidence.iter().map(move |e| (e, *text)));
    let labels = StructArray::try_new(
        label_fields(),
        vec![
            strings(evidence().map(|(evidence, _)| evidence.label.name())),
            offsets(evidence(), |(evidence, _)| evidence.start)?,
            offsets(evidence(), |(evidence, _)| evidence.end)?,
            strings(evidence().map(|(evidence, text)| evidence.snippet(text))),
        ],
        None,
    )?;
    let scores = || answers.iter().flat_map(|answer| &answer.scores);
    let thousandths = Decimal128Array::from_iter_values(scores().map(|(_, score)| i128::from(*score)));
    let scores = StructArray::try_new(
        score_fields(),
        vec![
            strings(scores().map(|(dimension, _)| dimension.name())),
            Arc::new(thousandths.with_precision_and_scale(4, 3)?),
        ],
        None,
    )?;
    let languages: StringArray = answers.iter().map(|answer| answer.language.map(Language::code)).collect();
    let columns = vec![
        Arc::new(languages) as ArrayRef,
        Arc::new(BooleanArray::from_iter(answers.iter().map(|answer| Some(answer.abstained)))),
        strings(answers.iter().map(|_| headwater_text::classify::METHOD)),
        strings(answers.iter().map(|_| headwater_text::classify::MODEL_VERSION)),
        list(answers.iter().map(|answer| answer.evidence.len()), labels.data_type().clone(), Arc::new(labels))?,
        list(answers.iter().map(|answer| answer.scores.len()), scores.data_type().clone(), Arc::new(scores))?,
    ];
    Ok(Arc::new(StructArray::try_new(classify_fields(), columns, None)?))
}
