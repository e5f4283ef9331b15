//! The README is run: its first pipeline, and every command of the binary that it shows.

use crate::support::{Workplace, repository};

fn blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(repository("README.md")).expect("the README is there");
    let fence = format!("```{language}\n");
    readme.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Splits a command line as a shell does, for the quoting that the README uses.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().expect("there is always one").push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_commands_and_the_first_pipeline_of_the_readme_work() {
    let place = Workplace::new();
    let pipeline = blocks("sql").into_iter().find(|block| block.starts_with("-- signups.sql")).unwrap();
    place.write("signups.sql", pipeline);
    place.write(
        "signups.csv",
        "person,city,at\nada,Oslo,2025-01-31T22:59:59Z\nada,Oslo,2025-01-31T10:00:00Z\nbo,Oslo,2025-01-31T23:00:00Z\n",
    );
    place.write("sessions.csv", std::fs::read(repository("tests/data/kintell-sessions.csv")).unwrap());
    let commands = blocks("").into_iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
    let commands: Vec<String> = commands.filter(|line| line.starts_with("headwater ")).collect();
    assert!(commands.len() >= 8, "the README shows {} commands", commands.len());
    for line in commands {
        let line = line.split(" #").next().unwrap_or_default().trim().to_owned();
        if line == "headwater serve" {
            continue; // It runs until Ctrl-C and has a test of its own.
        }
        let words = words(&line);
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let ran = place.headwater(&arguments);
        assert!(ran.success, "{line}\n{}{}", ran.stdout, ran.stderr);
    }
    // January ends at 23:00 UTC in Oslo's winter.
    let months = place.read("per_month.json");
    let mut months: Vec<&str> = months.lines().collect();
    months.sort_unstable();
    let expected = [
        r#"{"month":"2024-12-31T23:00:00Z","city":"Oslo","people":1}"#,
        r#"{"month":"2025-01-31T23:00:00Z","city":"Oslo","people":1}"#,
    ];
    assert_eq!(months, expected);
}
