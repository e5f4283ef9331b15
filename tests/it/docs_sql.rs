//! The SQL of the documentation is run: every fenced block `sql` of the pages is a pipeline for `headwater run`, and the
//! block `output` after it says what it prints. `UPDATE_EXPECT=1` rewrites those. The state is one folder per block.
//!
//! | info string | meaning |
//! |---|---|
//! | `file NAME` | an input file of the pipelines after it on the page; for `NAME.db` the SQL that makes an SQLite file |
//! | `sql` | a pipeline that must succeed |
//! | `sql error` | a pipeline that must fail |
//! | `output` | the rows that the pipeline before it leaves on standard output, in any order; or parts of its message |

use crate::sql_files::net;
use crate::support::{Ran, Workplace, repository};
use std::fs;
use std::path::{Path, PathBuf};

/// Pages outside of `docs/sql`.
const MORE_PAGES: [&str; 1] = ["docs/coming-from.md"];

/// A fenced block: what stands after the fence, where its lines begin, and the lines.
struct Block {
    info: String,
    first_line: usize,
    lines: Vec<String>,
}

fn pages() -> Vec<PathBuf> {
    let folder = fs::read_dir(repository("docs/sql")).expect("the folder is there");
    let mut pages: Vec<PathBuf> = folder.map(|entry| entry.expect("an entry").path()).collect();
    pages.retain(|path| path.extension().is_some_and(|end| end == "md"));
    pages.extend(MORE_PAGES.iter().map(|page| repository(page)));
    pages.sort();
    pages
}

fn blocks(lines: &[String]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in lines.iter().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                open = Some(Block { info: info.trim().to_owned(), first_line: number + 1, lines: Vec::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.lines.push(line.clone()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

fn make_store(path: &Path, sql: &str) {
    let store = rusqlite::Connection::open(path).expect("the store is made");
    store.execute_batch(sql).expect("the store is filled");
}

/// What a pipeline left, as the page shows it.
fn shown(ran: &Ran) -> String {
    let lines: Vec<String> = ran.stdout.lines().map(str::to_owned).collect();
    folded(&lines)
}

/// Rows have no order; what `EXPLAIN` prints has.
fn folded(lines: &[String]) -> String {
    match lines.iter().all(|line| line.starts_with('{')) {
        true => net(lines),
        false => lines.iter().map(|line| format!("{line}\n")).collect(),
    }
}

/// Runs a page; returns what is wrong with it, and the lines with the outputs that were found.
fn run_page(page: &Path) -> (String, Vec<String>) {
    let text = fs::read_to_string(page).expect("the page is there");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let blocks = blocks(&lines);
    let mut files: Vec<(String, String)> = Vec::new();
    let mut wrong = String::new();
    let mut found_outputs: Vec<(usize, usize, String)> = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let content = block.lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        if let Some(name) = block.info.strip_prefix("file ") {
            files.push((name.trim().to_owned(), content));
            continue;
        }
        let must_fail = block.info == "sql error";
        if block.info != "sql" && !must_fail {
            continue;
        }
        let place = Workplace::new();
        for (name, content) in &files {
            match name.strip_suffix(".db") {
                Some(_) => make_store(&place.path().join(name), content),
                None => place.write(name, content),
            }
        }
        let ran = place.run(&content);
        let expected = blocks.get(number + 1).filter(|next| next.info == "output");
        let at = format!("{}:{}", page.file_name().unwrap_or_default().display(), block.first_line);
        if ran.success == must_fail {
            wrong.push_str(&format!(
                "{at}: {}\n{}{}\n",
                if must_fail { "succeeded" } else { "failed" },
                ran.stdout,
                ran.stderr
            ));
            continue;
        }
        match expected {
            Some(output) if must_fail => {
                for line in output.lines.iter().filter(|line| !ran.stderr.contains(line.trim())) {
                    wrong.push_str(&format!("{at}: the message lacks '{line}':\n{}\n", ran.stderr));
                }
            }
            Some(output) => {
                let (found, expected) = (shown(&ran), folded(&output.lines));
                if found != expected {
                    wrong.push_str(&format!("{at}: expected\n{expected}found\n{found}{}\n", ran.stderr));
                }
                found_outputs.push((output.first_line, output.lines.len(), found));
            }
            None if must_fail || !ran.stdout.is_empty() => {
                wrong.push_str(&format!("{at}: add an output block after it:\n{}{}\n", shown(&ran), ran.stderr));
            }
            None => {}
        }
    }
    for (first, n_lines, found) in found_outputs.into_iter().rev() {
        lines.splice(first..first + n_lines, found.lines().map(str::to_owned));
    }
    (wrong, lines)
}

#[test]
fn the_sql_of_the_documentation_runs_and_leaves_what_is_shown() {
    let mut wrong = String::new();
    let mut n_pages = 0;
    for page in pages() {
        n_pages += 1;
        let (problems, lines) = run_page(&page);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&page, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }
        wrong.push_str(&problems);
    }
    assert!(n_pages > 0, "there is no page");
    assert!(wrong.is_empty(), "{wrong}");
}
