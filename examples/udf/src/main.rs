//! Runs a pipeline that may call the functions of this example: `cargo run -p headwater-example-udf [FILE.sql]`.

use headwater_core::{Error, Result};
use std::path::Path;

#[tokio::main]
async fn main() -> Result<()> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/pipeline.sql");
    let file = std::env::args().nth(1).unwrap_or_else(|| default.to_owned());
    let sql = std::fs::read_to_string(&file).map_err(|error| Error::io(format!("cannot read '{file}'"), error))?;
    let base = Path::new(&file).parent().unwrap_or(Path::new("."));
    let report = headwater_example_udf::run(&sql, base).await?;
    println!("rows written {}", report.totals().sink_rows);
    Ok(())
}
