//! Runs the shipped SQL as plain batch queries: sources are the generated lines, decoded; every view is computed once;
//! every INSERT goes into the real schema of the store. No engine, no planner of ours: this is what a stream must equal.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, TimestampNanosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use headwater_connectors::generator::impact::{ImpactGenerator, ImpactOptions, Line, LineKind, Stated};
use headwater_core::DeadLetter;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// The pipeline after its last statement.
pub(crate) struct Run {
    /// All tables and views by name.
    pub(crate) context: SessionContext,
    /// The store, with the shipped schema and all rows.
    pub(crate) store: rusqlite::Connection,
    /// The lines that were read.
    pub(crate) lines: Vec<Line>,
    /// What the generator says they contain.
    pub(crate) stated: Stated,
    /// The rows that were refused.
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// How many good lines repeated or replaced another.
    pub(crate) n_superseded: u64,
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/impact"))
}

/// Returns the statements of all files in order, without comments.
fn statements() -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the pipeline is in the repository")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    let text: String = files.iter().map(|path| std::fs::read_to_string(path).expect("a readable file")).collect();
    let code: Vec<&str> = text.lines().map(|line| line.split("--").next().unwrap_or("")).collect();
    let code = code.join("\n");
    code.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

fn option<'a>(statement: &'a str, name: &str) -> Option<&'a str> {
    let after = statement.split_once(&format!("{name} = '"))?.1;
    Some(after.split_once('\'')?.0)
}

fn name_of<'a>(statement: &'a str, opening: &str) -> Option<&'a str> {
    statement.strip_prefix(opening)?.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// Generates a programme and runs the pipeline over it.
pub(crate) async fn run(options: ImpactOptions) -> Run {
    let mut generator = ImpactGenerator::new(options).expect("valid options");
    let lines: Vec<Line> = generator.by_ref().collect();
    let stated = generator.stated().clone();
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config(config);
    for function in headwater_operators::functions::all() {
        context.register_udf(function.as_ref().clone());
    }
    let store = rusqlite::Connection::open_in_memory().expect("an in-memory store");
    let migration = std::fs::read_to_string(folder().join("migrations/0001_impact.sql")).expect("the migration");
    store.execute_batch(&migration).expect("the migration is valid SQL");
    let mut run = Run { context, store, lines, stated, dead_letters: Vec::new(), n_superseded: 0 };
    for statement in statements() {
        run.execute(&statement).await;
    }
    run
}

impl Run {
    async fn execute(&mut self, statement: &str) {
        let connector = option(statement, "connector");
        if let (Some(name), Some(contract)) = (name_of(statement, "CREATE TABLE "), option(statement, "contract")) {
            let rows = self.read_topic(contract);
            self.register(name, vec![rows]);
        } else if let Some(name) = name_of(statement, "CREATE TABLE ") {
            let declared = statement.rsplit_once(" WITH (").map_or(statement, |(declared, _)| declared);
            self.sql(declared).await;
            if connector == Some("single_file") {
                let schema = self.sql(&format!("SELECT * FROM {name}")).await.1;
                let file = option(statement, "path").expect("a file has a path").replace("${tables}", "");
                let file = std::fs::File::open(folder().join(file.trim_start_matches('/'))).expect("a table of rates");
                let reader = arrow::csv::ReaderBuilder::new(schema).with_header(true).build(file).expect("CSV");
                let rows = reader.collect::<Result<Vec<_>, _>>().unwrap_or_else(|error| panic!("{name}: {error}"));
                self.register(name, rows);
            }
        } else if let Some(name) = name_of(statement, "CREATE VIEW ") {
            let query = statement.split_once(" AS\n").expect("CREATE VIEW name AS, then a line").1;
            let (rows, schema) = self.sql(query).await;
            let rows = if rows.is_empty() { vec![RecordBatch::new_empty(schema)] } else { rows };
            self.register(name, rows);
        } else if let Some(name) = name_of(statement, "INSERT INTO ") {
            self.sql(statement).await;
            self.fill_store(name).await;
        } else {
            panic!("unexpected statement: {statement}");
        }
    }

    fn register(&self, name: &str, rows: Vec<RecordBatch>) {
        let table = MemTable::try_new(rows[0].schema(), vec![rows]).expect("batches of one schema");
        self.context.deregister_table(name).expect("can be replaced");
        self.context.register_table(name, Arc::new(table)).expect("a new name");
    }

    /// Runs one statement and returns its rows.
    pub(crate) async fn sql(&self, sql: &str) -> (Vec<RecordBatch>, arrow::datatypes::SchemaRef) {
        let frame = self.context.sql(sql).await.unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let rows = frame.collect().await.unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
        let schema = rows.first().map_or(schema, RecordBatch::schema);
        (rows, schema)
    }

    /// Decodes the lines of a topic and keeps the newest version of each event.
    fn read_topic(&mut self, topic: &str) -> RecordBatch {
        let contract = headwater_contracts::find(topic).expect("a contract");
        let lines: Vec<&Line> = self.lines.iter().filter(|line| line.topic == topic).collect();
        let values = BinaryArray::from_iter_values(lines.iter().map(|line| &line.bytes));
        let positions = StringArray::from_iter_values((0..lines.len()).map(|number| format!("{topic}:{number}")));
        let decoded = contract.decode(&values, &positions, topic).expect("a bad line is no error");
        self.dead_letters.extend(decoded.dead_letters);
        let ids = decoded.rows.column_by_name("_id").expect("an envelope column").as_string::<i32>();
        let times = decoded.rows.column_by_name("_time").expect("an envelope column");
        let times = times.as_primitive::<TimestampNanosecondType>();
        let mut newest: HashMap<&str, u32> = HashMap::new();
        for row in 0..ids.len() {
            let kept = newest.entry(ids.value(row)).or_insert(u32::try_from(row).expect("a small test"));
            if times.value(row) > times.value(*kept as usize) {
                *kept = u32::try_from(row).expect("a small test");
            }
        }
        let mut kept: Vec<u32> = newest.into_values().collect();
        kept.sort_unstable();
        self.n_superseded += (ids.len() - kept.len()) as u64;
        arrow::compute::take_record_batch(&decoded.rows, &UInt32Array::from(kept)).expect("indices in range")
    }

    /// Copies a sink's rows into the store; its keys and NOT NULLs are the check.
    async fn fill_store(&self, table: &str) {
        let (batches, schema) = self.sql(&format!("SELECT * FROM {table}")).await;
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let places = vec!["?"; columns.len()].join(", ");
        let insert = format!("INSERT INTO {table} ({}) VALUES ({places})", columns.join(", "));
        let mut insert = self.store.prepare(&insert).unwrap_or_else(|error| panic!("{table}: {error}"));
        for batch in batches {
            let options = FormatOptions::new().with_timestamp_format(Some("%Y-%m-%dT%H:%M:%SZ"));
            let cells: Vec<_> = batch.columns().iter().map(|column| Cells::new(column, &options)).collect();
            for row in 0..batch.num_rows() {
                let values = cells.iter().map(|cells| cells.value(row));
                let inserted = insert.execute(rusqlite::params_from_iter(values));
                inserted.unwrap_or_else(|error| panic!("{table}, row {row}: {error}\n{:?}", batch.slice(row, 1)));
            }
        }
    }

    /// Returns the rows of a query on the store as text, cells joined by `|`.
    pub(crate) fn stored(&self, query: &str) -> Vec<String> {
        let mut statement = self.store.prepare(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let n_columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let cells: rusqlite::Result<Vec<String>> = (0..n_columns).map(|at| row.get_ref(at).map(text)).collect();
            Ok(cells?.join("|"))
        });
        rows.expect("a query").collect::<Result<_, _>>().expect("rows")
    }

    /// Returns the newest version of each good event of a topic, by event id.
    pub(crate) fn events(&self, topic: &str) -> BTreeMap<String, serde_json::Value> {
        let mut newest: BTreeMap<String, serde_json::Value> = BTreeMap::new();
        let good = |line: &&Line| line.topic == topic && !matches!(line.kind, LineKind::Bad(_));
        for line in self.lines.iter().filter(good) {
            let event: serde_json::Value = serde_json::from_slice(&line.bytes).expect("a good line");
            let id = event["metadata"]["id"].as_str().expect("an id").to_owned();
            let newer = newest
                .get(&id)
                .is_none_or(|old| old["metadata"]["timestamp"].as_str() < event["metadata"]["timestamp"].as_str());
            if newer {
                newest.insert(id, event);
            }
        }
        newest
    }
}

fn text(value: rusqlite::types::ValueRef<'_>) -> String {
    match value {
        rusqlite::types::ValueRef::Null => "null".to_owned(),
        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
        rusqlite::types::ValueRef::Real(number) => number.to_string(),
        rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        rusqlite::types::ValueRef::Blob(_) => panic!("the store has no blobs"),
    }
}

/// A column as values of the store.
struct Cells<'a> {
    array: &'a ArrayRef,
    formatter: ArrayFormatter<'a>,
}

impl<'a> Cells<'a> {
    fn new(array: &'a ArrayRef, options: &FormatOptions<'a>) -> Self {
        Self { array, formatter: ArrayFormatter::try_new(array, options).expect("a printable type") }
    }

    fn value(&self, row: usize) -> rusqlite::types::Value {
        match self.array.data_type() {
            _ if self.array.is_null(row) => rusqlite::types::Value::Null,
            DataType::Boolean => rusqlite::types::Value::Integer(i64::from(self.array.as_boolean().value(row))),
            _ => rusqlite::types::Value::Text(self.formatter.value(row).to_string()),
        }
    }
}
