//! The options of formats: which there are, and which decoder each makes. Pure; no state.

use super::avro::{AvroDecoder, AvroSchemas};
use super::metadata::{WithMetadata, without_metadata};
use super::records::{Blank, Cutting, Framing, Tail};
use super::{
    CsvDecoder, CsvSettings, Decode, JsonDecoder, RawBytesDecoder, RawDecoder, RawStringDecoder, TimestampFormat,
    UnstructuredDecoder, raw_schema,
};
use arrow::datatypes::{DataType, SchemaRef};
use headwater_core::{Error, Options, Result};

/// The longest record, unless the option `record_bytes_max` says otherwise: far above any real event, and small
/// enough that a batch of such records fits in memory.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// The formats by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormatKind {
    Avro,
    Csv,
    Json,
    Parquet,
    RawString,
    RawBytes,
    Raw,
}

impl FormatKind {
    const NAMES: [(&'static str, Self); 7] = [
        ("avro", Self::Avro),
        ("csv", Self::Csv),
        ("json", Self::Json),
        ("parquet", Self::Parquet),
        ("raw_string", Self::RawString),
        ("raw_bytes", Self::RawBytes),
        ("raw", Self::Raw),
    ];

    /// Returns the name.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| *name)
    }

    /// Reads the option `format`; `path` tells when it is not given.
    pub(crate) fn parse(options: &Options, path: &str) -> Result<Self> {
        let names = Self::NAMES.map(|(name, _)| name);
        let known = Self::of_path(path).map_or("", Self::name);
        if known.is_empty() && options.get("format").is_none() {
            return Err(Error::invalid(format!("the format of '{path}' is not known"))
                .with_help(format!("add format = '…', one of: {}", names.join(", "))));
        }
        let name = options.one_of("format", known, &names)?;
        Ok(Self::NAMES.iter().find(|(known, _)| *known == name).map_or(Self::Json, |(_, kind)| *kind))
    }

    fn of_path(path: &str) -> Option<Self> {
        let path = path.trim_end_matches(".gz").trim_end_matches(".zst");
        match path.rsplit_once('.')?.1 {
            "avro" => Some(Self::Avro),
            "csv" => Some(Self::Csv),
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// A format made of records.
#[derive(Debug, Clone)]
pub(crate) enum LineFormat {
    Csv(CsvSettings),
    Json(TimestampFormat),
    /// JSON values that are kept as text.
    Unstructured,
    RawString,
    RawBytes,
    Raw,
    /// Messages of one record each; files of them are read otherwise.
    Avro(AvroSchemas),
}

impl LineFormat {
    /// Reads the options of a format and checks that it can fill the columns; `None` for Parquet and files of
    /// Avro, which are not made of records with a place.
    pub(crate) fn parse(kind: FormatKind, options: &Options, schema: &SchemaRef) -> Result<Option<Self>> {
        let of_record = without_metadata(schema);
        let schema = of_record.as_ref().unwrap_or(schema);
        Ok(Some(match kind {
            FormatKind::Parquet | FormatKind::Avro => return Ok(None),
            FormatKind::Csv => {
                CsvSettings::check(schema)?;
                Self::Csv(CsvSettings::parse(options)?)
            }
            FormatKind::Json if options.parse("json.unstructured", "true or false")?.unwrap_or(false) => {
                one_text(schema, "json.unstructured keeps a whole line", "(value TEXT) or (value JSON)")?;
                Self::Unstructured
            }
            FormatKind::Json => Self::Json(TimestampFormat::parse(options)?),
            FormatKind::RawString => {
                one_text(schema, "the format raw_string keeps a whole line", "(value TEXT)")?;
                Self::RawString
            }
            FormatKind::RawBytes => {
                let fields = schema.fields();
                if fields.len() != 1 || fields[0].data_type() != &DataType::Binary {
                    return Err(Error::invalid("the format raw_bytes needs exactly one column of bytes")
                        .with_help("declare (value BYTEA)"));
                }
                Self::RawBytes
            }
            FormatKind::Raw => {
                if schema.fields() != raw_schema().fields() {
                    return Err(Error::invalid("the format raw needs the columns value and position")
                        .with_help("declare (value BYTEA NOT NULL, position TEXT NOT NULL)"));
                }
                Self::Raw
            }
        }))
    }

    /// Reads the options of how records are cut.
    pub(crate) fn cutting(&self, options: &Options, tail: Tail) -> Result<Cutting> {
        let framing = match self {
            Self::Csv(csv) => Framing::Csv { delimiter: csv.delimiter, quote: csv.quote },
            Self::Json(_) | Self::Unstructured | Self::RawString | Self::RawBytes | Self::Raw | Self::Avro(_) => {
                Framing::Line
            }
        };
        let blank = match self {
            Self::Csv(_) => Blank::Empty,
            Self::Json(_) | Self::Unstructured | Self::Raw => Blank::WhiteSpace,
            Self::RawString | Self::RawBytes | Self::Avro(_) => Blank::None,
        };
        let record_bytes_max = options.parse("record_bytes_max", "a number of bytes")?.unwrap_or(RECORD_BYTES_MAX);
        Ok(Cutting { blank, framing, tail, record_bytes_max })
    }

    /// Whether a file starts with a record that names the columns.
    pub(crate) fn has_header(&self) -> bool {
        matches!(self, Self::Csv(csv) if csv.header)
    }

    /// Whether only the columns that are wanted need to be decoded.
    pub(crate) fn can_project(&self) -> bool {
        matches!(self, Self::Csv(_) | Self::Json(_) | Self::Avro(_))
    }

    /// Makes the decoder of one file.
    pub(crate) fn decoder(
        &self,
        declared: &SchemaRef,
        wanted: SchemaRef,
        header: Option<&[u8]>,
    ) -> Result<Box<dyn Decode>> {
        let Some(of_record) = without_metadata(&wanted) else { return self.record_decoder(declared, wanted, header) };
        // A record is read, and checked, when only what is known of it is wanted.
        let of_record = match (of_record.fields().is_empty() || !self.can_project(), without_metadata(declared)) {
            (true, Some(all)) => all,
            _ => of_record,
        };
        let declared = without_metadata(declared).unwrap_or_else(|| declared.clone());
        let inner = self.record_decoder(&declared, of_record, header)?;
        Ok(Box::new(WithMetadata::new(inner, wanted)))
    }

    fn record_decoder(
        &self,
        declared: &SchemaRef,
        wanted: SchemaRef,
        header: Option<&[u8]>,
    ) -> Result<Box<dyn Decode>> {
        Ok(match (self, header) {
            (Self::Unstructured, _) => Box::new(UnstructuredDecoder::new(wanted)),
            (Self::Csv(csv), Some(header)) => Box::new(CsvDecoder::with_header(csv.clone(), header, wanted)?),
            (Self::Csv(csv), None) => Box::new(CsvDecoder::without_header(csv.clone(), declared, wanted)),
            (Self::Json(timestamps), _) => Box::new(JsonDecoder::new(wanted, *timestamps)),
            (Self::RawString, _) => Box::new(RawStringDecoder::new(wanted)),
            (Self::RawBytes, _) => Box::new(RawBytesDecoder::new(wanted)),
            (Self::Raw, _) => Box::new(RawDecoder::new()),
            (Self::Avro(schemas), _) => Box::new(AvroDecoder::new(schemas.clone(), wanted)),
        })
    }
}

/// Checks that the columns of a record are one text.
fn one_text(schema: &SchemaRef, why: &str, how: &str) -> Result<()> {
    let fields = schema.fields();
    if fields.len() == 1 && fields[0].data_type() == &DataType::Utf8 {
        return Ok(());
    }
    Err(Error::invalid(format!("{why}, which needs exactly one column of text")).with_help(format!("declare {how}")))
}
