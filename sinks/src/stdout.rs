//! The sink `stdout`: prints each epoch's net change when it is committed, as JSON lines (`format = 'json'`, the
//! default for insertions), as Debezium JSON (`debezium_json`, used for all queries whose rows can be taken back) or as
//! CSV.
//!
//! Guarantee: at most once. Nothing of an uncommitted epoch is printed, and none is printed twice; what a process that
//! was killed had prepared and not printed yet is lost, because nobody can tell how much of it was seen. State: the lines of the
//! running epoch and of those that are prepared, which is as large as one epoch.

use crate::rows::{TextFormat, net_change};
use async_trait::async_trait;
use headwater_core::{
    Batch, Changes, Connector, Epoch, Error, Guarantee, Prepared, Result, Sink, SinkSpec, TableDefinition, TaskContext,
};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// The connector.
#[derive(Debug)]
pub(crate) struct Stdout;

impl Connector for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn reads(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        let name = table.options.one_of("format", "json", &["json", "debezium_json", "csv"])?;
        Ok(Arc::new(Spec { format: TextFormat::parse(name, &table.options)?, key: table.primary_key.clone() }))
    }
}

#[derive(Debug, Clone)]
struct Spec {
    format: TextFormat,
    /// The columns that name a row.
    key: Vec<usize>,
}

#[async_trait]
impl SinkSpec for Spec {
    fn describe(&self) -> String {
        "stdout".to_owned()
    }

    fn changes(&self) -> Changes {
        if matches!(self.format, TextFormat::Csv { .. }) { Changes::AppendOnly } else { Changes::Any }
    }

    fn for_changes(&self) -> Option<Arc<dyn SinkSpec>> {
        let format = TextFormat::DebeziumJson;
        (self.format == TextFormat::Json).then(|| Arc::new(Self { format, ..self.clone() }) as _)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtMostOnce
    }

    async fn open(&self, _: &TaskContext) -> Result<Box<dyn Sink>> {
        let (format, key) = (self.format, self.key.clone());
        let printer = Printer { format, key, ..Printer::new(Box::new(io::stdout())) };
        Ok(Box::new(Printing(Arc::new(Mutex::new(printer)))))
    }
}

struct Printing(Arc<Mutex<Printer>>);

struct Printer {
    format: TextFormat,
    key: Vec<usize>,
    out: Box<dyn Write + Send>,
    running: Vec<Batch>,
    prepared: BTreeMap<Epoch, Vec<u8>>,
    is_first: bool,
}

impl Printer {
    fn new(out: Box<dyn Write + Send>) -> Self {
        let (running, prepared) = Default::default();
        Self { format: TextFormat::Json, key: Vec::new(), out, running, prepared, is_first: true }
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<()> {
        let batches = std::mem::take(&mut self.running);
        let mut text = Vec::new();
        if let Some(net) = net_change(&batches, &self.key)? {
            let format = if net.diffs.is_some() { TextFormat::DebeziumJson } else { self.format };
            format.write(&net, &self.key, self.is_first, &mut text)?;
            self.is_first = false;
        }
        self.prepared.insert(epoch, text);
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch) -> Result<()> {
        let text = self.prepared.remove(&epoch).unwrap_or_default();
        let written = self.out.write_all(&text).and_then(|()| self.out.flush());
        written.map_err(|error| Error::invalid(format!("cannot print: {error}")).with_cause(error))
    }
}

#[async_trait]
impl Sink for Printing {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        crate::blocking(&self.0, |printer| {
            printer.running.push(batch);
            Ok(())
        })
        .await
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        crate::blocking(&self.0, move |printer| printer.prepare(epoch)).await?;
        Ok(Prepared::default())
    }

    async fn commit(&mut self, epoch: Epoch, _: &Prepared) -> Result<()> {
        crate::blocking(&self.0, move |printer| printer.commit(epoch)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::tests::{batch, text};

    /// Keeps what is printed.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_epoch_is_printed_once_as_its_net_change() {
        let paper = Paper::default();
        let mut printer = Printer::new(Box::new(paper.clone()));
        printer.running = vec![batch(&[(1, Some("a"), 1)]), batch(&[(1, Some("a"), -1), (1, Some("b"), 1)])];
        printer.prepare(Epoch(1)).expect("prepares");
        assert_eq!(text(&paper.0.lock().unwrap()), "");
        printer.commit(Epoch(1)).expect("commits");
        printer.commit(Epoch(1)).expect("commits again");
        assert_eq!(
            text(&paper.0.lock().unwrap()),
            "{\"before\":null,\"after\":{\"id\":1,\"name\":\"b\"},\"op\":\"c\"}\n"
        );
    }
}
