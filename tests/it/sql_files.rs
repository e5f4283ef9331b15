//! Every file of `tests/sql`, run by the binary. A pipeline must leave what its golden says, at every parallelism; a
//! mistake must be shown where it is. Where there is a golden of a plan (`.plan`, `.verbose.plan`, `.changes.plan`),
//! `explain` must print it. `UPDATE_EXPECT=1` rewrites the goldens. The state is one folder for each run.

use crate::support::{Ran, Workplace, repository};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const PARALLELISMS: [&str; 2] = ["1", "3"];
/// The name under which a file is run.
const PIPELINE: &str = "pipeline.sql";

fn sql_files(are_errors: bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository("tests/sql")).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    let is_error = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().starts_with("error_");
    files.retain(|path| path.extension().is_some_and(|end| end == "sql") && is_error(path) == are_errors);
    files.sort();
    files
}

fn place_for(file: &Path) -> Workplace {
    let place = Workplace::new();
    for entry in fs::read_dir(repository("tests/sql/inputs")).expect("the folder is there") {
        let input = entry.expect("an entry");
        place.write(
            &format!("inputs/{}", input.file_name().display()),
            fs::read(input.path()).expect("the input is read"),
        );
    }
    place.write(PIPELINE, fs::read(file).expect("the pipeline is read"));
    place
}

/// Adds every file below a folder that a pipeline may have written.
fn outputs(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true if path.ends_with("inputs") => {}
            true => outputs(&path, found),
            false if path.ends_with(PIPELINE) => {}
            false => found.push(path),
        }
    }
}

/// Lines in an order of their own; changes become the rows that are left, each as often as it is left.
pub(crate) fn net(lines: &[String]) -> String {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines {
        let change = serde_json::from_str(line).ok().filter(|value: &Value| value.get("op").is_some());
        let Some(change) = change else {
            *rows.entry(line.clone()).or_default() += 1;
            continue;
        };
        for (side, sign) in [("before", -1), ("after", 1)] {
            if !change[side].is_null() {
                *rows.entry(change[side].to_string()).or_default() += sign;
            }
        }
    }
    let mut text = String::new();
    for (row, n) in rows {
        assert!(n >= 0, "a row was taken back that never came: {row}");
        (0..n).for_each(|_| text.push_str(&format!("{row}\n")));
    }
    text
}

fn lines_of(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn rows_of_store(path: &Path) -> String {
    let store = Connection::open(path).expect("the store opens");
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY 1";
    let mut statement = store.prepare(tables).expect("the schema is read");
    let tables: rusqlite::Result<Vec<String>> = statement.query_map([], |row| row.get(0)).and_then(Iterator::collect);
    let mut text = String::new();
    for table in tables.expect("names of tables") {
        let mut statement = store.prepare(&format!("SELECT * FROM \"{table}\"")).expect("a table is read");
        let columns = statement.column_names().collect::<Vec<_>>().join("|");
        let n_columns = statement.column_count();
        let mut rows = statement.query([]).expect("a table is read");
        let mut lines = Vec::new();
        while let Some(row) = rows.next().expect("a row is read") {
            let shown = |column| match row.get_ref(column).expect("the column is there") {
                ValueRef::Null => "null".to_owned(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(number) => number.to_string(),
                ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
            };
            lines.push((0..n_columns).map(shown).collect::<Vec<_>>().join("|"));
        }
        lines.sort_unstable();
        text.push_str(&format!("{table}: {columns}\n"));
        lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    }
    text
}

/// Reads Parquet with the binary, which prints the rows.
fn rows_of_parquet(place: &Workplace, name: &str) -> String {
    let source = format!("CREATE TABLE t WITH (connector = 'parquet', path = '{name}');\nSELECT * FROM t;");
    net(&lines_of(&place.run(&source).succeeded().stdout))
}

/// Everything that a run left, as one text that is the same at every parallelism.
fn left(place: &Workplace, ran: &Ran) -> String {
    let mut files = Vec::new();
    outputs(place.path(), &mut files);
    // The files of a folder are one output: how many there are depends on the parallelism.
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        let name = file.strip_prefix(place.path()).expect("outputs are in the place");
        let end = name.extension().map(|end| end.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = name.parent().filter(|folder| folder != &Path::new(""));
        let shown = folder.map_or_else(|| name.display().to_string(), |folder| format!("{}/*.{end}", folder.display()));
        match end.as_str() {
            "db" => drop(sections.insert(shown, rows_of_store(&file))),
            "db-shm" | "db-wal" => {}
            "parquet" => {
                let path = folder.unwrap_or(name).display().to_string();
                sections.entry(shown).or_insert_with(|| rows_of_parquet(place, &path));
            }
            "csv" => {
                let text = fs::read_to_string(&file).expect("text");
                let (header, rows) = text.split_once('\n').unwrap_or((&text, ""));
                texts.entry(format!("{shown}: {header}")).or_default().extend(lines_of(rows));
            }
            _ => texts.entry(shown).or_default().extend(lines_of(&fs::read_to_string(&file).expect("text"))),
        }
    }
    texts.insert("stdout".to_owned(), lines_of(&ran.stdout));
    sections.extend(texts.into_iter().map(|(name, lines)| (name, net(&lines))));
    let is_stable = |line: &&str| line.starts_with("rows in ") || line.starts_with("  dead letters ");
    let mut summary: Vec<&str> = ran.stderr.lines().filter(is_stable).collect();
    summary.sort_unstable();
    assert!(!ran.stderr.contains("does not balance"), "{}", ran.stderr);
    sections.insert("summary".to_owned(), net(&summary.into_iter().map(str::to_owned).collect::<Vec<_>>()));
    sections.retain(|_, rows| !rows.is_empty());
    sections.iter().map(|(name, rows)| format!("== {name}\n{rows}")).collect()
}

#[test]
fn pipelines_leave_what_their_goldens_say_at_every_parallelism() {
    let files = sql_files(false);
    assert!(files.len() >= 20, "there are {} pipelines", files.len());
    let mut wrong = String::new();
    for file in files {
        let golden = file.with_extension("out");
        for parallelism in PARALLELISMS {
            let place = place_for(&file);
            let ran = place.headwater(&["run", PIPELINE, "-p", parallelism]);
            let found = if ran.success { left(&place, &ran) } else { ran.stderr };
            if std::env::var_os("UPDATE_EXPECT").is_some() && parallelism == PARALLELISMS[0] {
                fs::write(&golden, &found).unwrap();
            }
            let expected = fs::read_to_string(&golden).unwrap_or_default();
            if found != expected {
                let name = file.file_name().unwrap().display();
                writeln!(wrong, "{name} -p {parallelism}\nexpected:\n{expected}\nfound:\n{found}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The endings of goldens of plans, and how `explain` is asked for them.
const PLANS: [(&str, &[&str]); 3] = [("plan", &[]), ("verbose.plan", &["--verbose"]), ("changes.plan", &["--changes"])];

#[test]
fn plans_are_what_their_goldens_say() {
    let (mut n_plans, mut wrong) = (0, String::new());
    for file in sql_files(false) {
        for (end, flags) in PLANS {
            let golden = file.with_extension(end);
            let Ok(expected) = fs::read_to_string(&golden) else { continue };
            n_plans += 1;
            let place = place_for(&file);
            let found = place.headwater(&[&["explain", PIPELINE], flags].concat()).succeeded().stdout;
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                fs::write(&golden, &found).unwrap();
            } else if found != expected {
                writeln!(wrong, "{}\nexpected:\n{expected}\nfound:\n{found}", golden.display()).unwrap();
            }
        }
    }
    assert!(n_plans >= 12, "there are {n_plans} plans");
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn mistakes_are_shown_with_their_line_and_column() {
    let files = sql_files(true);
    assert!(files.len() >= 15, "there are {} files with a mistake", files.len());
    let mut wrong = String::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let wanted: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("-- error: ")).collect();
        assert!(wanted.iter().any(|text| text.starts_with("line ")), "{}: no line and column", file.display());
        let place = place_for(&file);
        for command in ["check", "run"] {
            let message = place.headwater(&[command, PIPELINE]).failed();
            let missing: Vec<_> = wanted.iter().filter(|text| !message.contains(**text)).collect();
            if !missing.is_empty() || !message.contains("help: ") {
                let name = file.file_name().unwrap().display();
                writeln!(wrong, "{command} {name} lacks {missing:?}:\n{message}\n").unwrap();
            }
        }
        assert_eq!(place.files(), ["inputs", PIPELINE], "{} left something behind", file.display());
    }
    assert!(wrong.is_empty(), "{wrong}");
}
