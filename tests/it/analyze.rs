//! `headwater explain --analyze`: a run that writes nothing, and what it says about state.

use crate::support::Workplace;

const PIPELINE: &str = "
CREATE TABLE visits (who TEXT, at TIMESTAMP, WATERMARK FOR at) WITH (connector = 'single_file', path = 'visits.csv');
CREATE TABLE result (day TIMESTAMP, who TEXT, n BIGINT) WITH (connector = 'single_file', path = 'out.json');
INSERT INTO result SELECT tumble(at, INTERVAL '1 day').start, who, count(*)
FROM visits GROUP BY who, tumble(at, INTERVAL '1 day');";

#[test]
fn rows_and_state_are_shown_and_nothing_is_written() {
    let place = Workplace::new();
    place.write(
        "visits.csv",
        "who,at\na,2025-01-01T10:00:00Z\nb,2025-01-01T11:00:00Z\na,2025-01-02T10:00:00Z\na,then\n",
    );
    place.write("pipeline.sql", PIPELINE);
    let ran = place.headwater(&["explain", "--analyze", "pipeline.sql"]).succeeded();
    for part in [
        "source_visits ×1\n    source single_file ",
        "rows in 4, out 3, dead letters 1\n",
        "      keeps one group for each (who, tumble(visits.at, 1 day)); freed when the watermark passes the end of its window\n",
        "    rows in 3, out 3; state at most 3 rows, ",
        " bytes, in the end 0 rows\n",
        "sink_result ×1\n",
        "rows in 3, out 3\n",
    ] {
        assert!(ran.stdout.contains(part), "'{part}' is not in\n{}", ran.stdout);
    }
    assert_eq!(place.files(), ["pipeline.sql", "visits.csv"]);
    assert!(!place.headwater(&["explain", "pipeline.sql", "-p", "2"]).success);
}
