//! The house rules that a program can check: who may depend on whom, and the shape of files.
//!
//! The reasons are in `docs/STYLE.md` and `docs/ARCHITECTURE.md`. A rule that is broken twice becomes a check here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which members each member may name in its `[dependencies]`. What is not here is not allowed.
const EDGES: &[(&str, &[&str])] = &[
    ("api", &["contracts", "core"]),
    ("bus", &["contracts", "core"]),
    ("connectors", &["core"]),
    ("contracts", &["core"]),
    ("core", &[]),
    ("engine", &["core"]),
    ("examples/udf", &["connectors", "core", "engine", "sinks", "sql"]),
    ("importers", &["contracts", "core"]),
    ("operators", &["contracts", "core", "text"]),
    ("pipelines", &["core", "engine"]),
    ("sinks", &["core"]),
    ("sql", &["contracts", "core", "operators"]),
    ("text", &[]),
];

/// External crates that only these members may name: the planner, client libraries, the web framework, the runtime.
const CONFINED: &[(&str, &[&str])] = &[
    ("datafusion", &["sql"]),
    ("axum", &["api"]),
    ("object_store", &["engine"]),
    ("arrow-avro", &["connectors"]),
    ("async-nats", &["bus", "connectors"]),
    ("rdkafka", &["bus", "connectors"]),
    ("redis", &["connectors"]),
    ("rusqlite", &["api", "connectors", "pipelines", "sinks"]),
    ("clickhouse", &["sinks"]),
    ("tokio-postgres", &["connectors", "sinks"]),
    ("parquet", &["connectors", "sinks"]),
    ("tokio", &["api", "bus", "connectors", "engine", "examples/udf", "pipelines", "sinks", "sql"]),
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let members = EDGES.iter().map(|(member, _)| root().join(member));
    let mut folders: Vec<PathBuf> = members.chain([root().join("src"), root().join("tests")]).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is listed").map(|entry| entry.expect("entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                files.push(entry);
            }
        }
    }
    files.sort();
    files
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn assert_none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n  {}", faults.join("\n  "));
}

fn dependencies(member: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(member).join("Cargo.toml")).expect("every member has a manifest");
    let manifest: toml::Table = text.parse().expect("the manifest is TOML");
    let table = manifest.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    table.keys().cloned().collect()
}

#[test]
fn members_depend_only_along_the_drawn_edges() {
    let mut faults = Vec::new();
    for (member, allowed) in EDGES {
        for dependency in dependencies(member) {
            let own = dependency.strip_prefix("headwater-");
            if own.is_some_and(|name| !allowed.contains(&name)) {
                faults.push(format!("{member} → {dependency}"));
            }
        }
    }
    assert_none("edges that docs/ARCHITECTURE.md does not draw", &faults);
}

#[test]
fn client_libraries_stay_where_they_belong() {
    let mut faults = Vec::new();
    for (member, _) in EDGES {
        for dependency in dependencies(member) {
            let confined = CONFINED.iter().find(|(name, _)| *name == dependency);
            if confined.is_some_and(|(_, members)| !members.contains(member)) {
                faults.push(format!("{member} → {dependency}"));
            }
        }
    }
    assert_none("external crates outside their members", &faults);
}

#[test]
fn every_external_crate_is_in_the_one_version_table() {
    let mut faults = Vec::new();
    for (member, _) in EDGES {
        let text = fs::read_to_string(root().join(member).join("Cargo.toml")).expect("every member has a manifest");
        let manifest: toml::Table = text.parse().expect("the manifest is TOML");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
                let inherited = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                if !inherited || value.as_table().is_some_and(|table| table.len() > 1) {
                    faults.push(format!("{member}: {name}"));
                }
            }
        }
    }
    assert_none("dependencies that are not inherited unchanged", &faults);
}

#[test]
fn every_file_says_what_it_is_and_is_short_enough() {
    let mut faults = Vec::new();
    for path in rust_files() {
        let text = fs::read_to_string(&path).expect("the file is listed");
        if !text.starts_with("//!") {
            faults.push(format!("{}: does not open with `//!`", shown(&path)));
        }
        let n_lines = text.lines().count();
        if n_lines > FILE_LINES_MAX {
            faults.push(format!("{}: {n_lines} lines, {FILE_LINES_MAX} allowed", shown(&path)));
        }
    }
    assert_none("files out of shape", &faults);
}

/// Finds functions by rustfmt's layout: a line that holds `fn ` and is not closed on itself, up to the line that is
/// `}` at the same indentation.
fn long_functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indentation = line.len() - code.len();
        let opens = code.starts_with("fn ")
            || ["pub ", "pub(crate) ", "pub(super) ", "async ", "const "].iter().any(|p| code.starts_with(p))
                && code.contains("fn ");
        if !opens || code.ends_with(';') || code.ends_with('}') {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indentation));
        let end = lines[start..].iter().position(|line| *line == close).map_or(lines.len(), |n| start + n);
        if end - start + 1 > FUNCTION_LINES_MAX {
            found.push((start + 1, end - start + 1));
        }
    }
    found
}

#[test]
fn functions_are_short_enough_to_be_read() {
    let mut faults = Vec::new();
    for path in rust_files() {
        let text = fs::read_to_string(&path).expect("the file is listed");
        for (line, n_lines) in long_functions(&text) {
            faults.push(format!("{}:{line}: {n_lines} lines, {FUNCTION_LINES_MAX} allowed", shown(&path)));
        }
    }
    assert_none("functions out of shape", &faults);
}

#[test]
fn the_function_finder_finds_a_long_function() {
    let body = "    let x = 1;\n".repeat(FUNCTION_LINES_MAX);
    assert_eq!(long_functions(&format!("fn long() {{\n{body}}}\n")), vec![(1, FUNCTION_LINES_MAX + 2)]);
    assert_eq!(long_functions("fn short() {\n    let x = 1;\n}\n"), vec![]);
}

#[test]
fn nothing_is_left_for_later_and_nothing_waits_for_time() {
    // Put together here so that this file does not find itself.
    let words: Vec<String> =
        [("todo", "!("), ("unimplemented", "!("), ("FIX", "ME"), ("#[", "ignore"), ("#[al", "low(")]
            .iter()
            .map(|(a, b)| format!("{a}{b}"))
            .chain([["thread::", "sleep"].concat()])
            .collect();
    let mut faults = Vec::new();
    for path in rust_files() {
        let text = fs::read_to_string(&path).expect("the file is listed");
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
                faults.push(format!("{}:{}: {word}", shown(&path), number + 1));
            }
        }
    }
    assert_none("unfinished or unsteady code", &faults);
}
