//! Answers that were given a while ago, and are still good. A key without rows is remembered like any other; a failure
//! is not. Time comes from the injected clock; what bounds it is the number of rows or bytes.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use async_trait::async_trait;
use headwater_core::{Clock, Error, Found, Lookup, LookupColumns, Options, Result};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How many rows are kept where nothing is said about it: some ten megabytes.
const ROWS_MAX: u64 = 100_000;
/// What a key costs beside its bytes and those of its rows.
const KEY_BYTES: u64 = 64;
/// How many rows one key is thought to have, and how many bytes, when room is made for the keys.
const BYTES_EXPECTED: u64 = 256;

/// How much is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CacheSettings {
    ttl: Option<Duration>,
    limit: Limit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Rows(u64),
    Bytes(u64),
}

impl CacheSettings {
    /// Reads the options; `None` where no cache is asked for.
    pub(super) fn parse(options: &Options) -> Result<Option<Self>> {
        let name = |short: &'static str, long: &'static str| if options.get(short).is_some() { short } else { long };
        let ttl = options.duration(name("cache.ttl", "lookup.cache.ttl"))?;
        let size = |name: &str| options.parse::<u64>(name, "a whole number");
        let rows = size(name("cache.max_rows", "lookup.cache.max_rows"))?;
        let bytes = size(name("cache.max_bytes", "lookup.cache.max_bytes"))?;
        let limit = match (rows, bytes) {
            (Some(_), Some(_)) => {
                let error = Error::invalid("the cache has two limits, cache.max_rows and cache.max_bytes");
                return Err(error.with_help("keep one of them"));
            }
            (Some(0), _) | (_, Some(0)) => {
                return Err(Error::invalid("a cache without room keeps nothing").with_help("leave its options out"));
            }
            (Some(rows), None) => Limit::Rows(rows),
            (None, Some(bytes)) => Limit::Bytes(bytes),
            (None, None) if ttl.is_none() => return Ok(None),
            (None, None) => Limit::Rows(ROWS_MAX),
        };
        Ok(Some(Self { ttl, limit }))
    }
}

impl fmt::Display for CacheSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ttl) = self.ttl {
            write!(f, "for {ttl:?} ")?;
        }
        match self.limit {
            Limit::Rows(rows) => write!(f, "up to {rows} rows"),
            Limit::Bytes(bytes) => write!(f, "up to {bytes} bytes"),
        }
    }
}

/// The rows of one key, as bytes, and when they were found.
type Answer = Arc<(i64, Vec<Box<[u8]>>)>;

/// What a key and its rows take of the room.
#[derive(Clone)]
struct Weight(Limit);

impl Weighter<Box<[u8]>, Answer> for Weight {
    fn weight(&self, key: &Box<[u8]>, answer: &Answer) -> u64 {
        match self.0 {
            Limit::Rows(_) => (answer.1.len() as u64).max(1),
            Limit::Bytes(_) => {
                let rows: usize = answer.1.iter().map(|row| row.len()).sum();
                KEY_BYTES + (key.len() + rows) as u64
            }
        }
    }
}

/// A store with a cache before it.
pub(super) struct Cached {
    store: Arc<dyn Lookup>,
    cache: Cache<Box<[u8]>, Answer, Weight>,
    ttl: Option<i64>,
    clock: Arc<dyn Clock>,
    keys: RowConverter,
    rows: RowConverter,
    schema: SchemaRef,
}

impl Cached {
    /// Makes an empty cache.
    pub(super) fn new(
        store: Arc<dyn Lookup>,
        settings: &CacheSettings,
        columns: &LookupColumns,
        table: &SchemaRef,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (room, n_keys) = match settings.limit {
            Limit::Rows(rows) => (rows, rows),
            Limit::Bytes(bytes) => (bytes, bytes / BYTES_EXPECTED),
        };
        let n_keys = usize::try_from(n_keys.clamp(1, ROWS_MAX)).unwrap_or(1);
        let schema = table.project(&columns.wanted)?;
        Ok(Self {
            store,
            cache: Cache::with_weighter(n_keys, room, Weight(settings.limit)),
            ttl: settings.ttl.map(|ttl| i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX)),
            clock,
            keys: converter(&table.project(&columns.key)?)?,
            rows: converter(&schema)?,
            schema: Arc::new(schema),
        })
    }

    fn known(&self, key: &[u8], now: i64) -> Option<Answer> {
        let answer = self.cache.get(key)?;
        let is_good = self.ttl.is_none_or(|ttl| now.saturating_sub(answer.0) < ttl);
        is_good.then_some(answer)
    }
}

fn converter(schema: &Schema) -> Result<RowConverter> {
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    RowConverter::new(fields).map_err(|error| {
        Error::invalid(format!("a column of this table cannot be cached: {error}"))
            .with_help("leave out the options of the cache, or the column")
    })
}

#[async_trait]
impl Lookup for Cached {
    async fn find(&self, keys: &RecordBatch) -> Result<Found> {
        let now = self.clock.now().0;
        let encoded: Vec<Box<[u8]>> =
            self.keys.convert_columns(keys.columns())?.iter().map(|row| row.data().into()).collect();
        let mut answers: Vec<Option<Answer>> = encoded.iter().map(|key| self.known(key, now)).collect();
        let missing: Vec<u32> =
            (0_u32..).zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(number, _)| number).collect();
        let mut failed = Vec::new();
        if !missing.is_empty() {
            let numbers = UInt32Array::from(missing.clone());
            let found = self.store.find(&take_record_batch(keys, &numbers)?).await?;
            let rows = self.rows.convert_columns(found.rows.columns())?;
            let mut by_key: Vec<Vec<Box<[u8]>>> = vec![Vec::new(); missing.len()];
            for (row, of) in rows.iter().zip(&found.of) {
                by_key[*of as usize].push(row.data().into());
            }
            failed.extend(found.failed.into_iter().map(|(key, error)| (missing[key as usize], error)));
            for (key, rows) in missing.iter().zip(by_key) {
                if failed.iter().all(|(failed, _)| failed != key) {
                    let answer = Arc::new((now, rows));
                    self.cache.insert(encoded[*key as usize].clone(), answer.clone());
                    answers[*key as usize] = Some(answer);
                }
            }
        }
        let parser = self.rows.parser();
        let (mut rows, mut of) = (Vec::new(), Vec::new());
        for (number, answer) in (0_u32..).zip(&answers) {
            for row in answer.iter().flat_map(|answer| &answer.1) {
                rows.push(parser.parse(row));
                of.push(number);
            }
        }
        let rows = RecordBatch::try_new(self.schema.clone(), self.rows.convert_rows(rows)?)?;
        Ok(Found { rows, of, failed })
    }
}
