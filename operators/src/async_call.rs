//! Calls an asynchronous function on each row and appends its result as a column.
//!
//! The function gets the arguments of a whole request as arrays and answers with one value a row. Whatever is wrong with
//! its answer concerns rows, which the engine finds out, unless it is of another type than declared: that is a mistake
//! in the function. It has no state.

use crate::expression::{engine_error, evaluate, sql};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{
    Answer, AsyncOperator, AsyncOperatorSpec, AsyncSettings, Error, ErrorKind, Reason, Result, TaskContext,
};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// What a call of an asynchronous function will come to.
pub type AsyncResult = Pin<Box<dyn Future<Output = Result<ArrayRef>> + Send>>;

/// An asynchronous function: the arguments of several rows in, one value for each of the rows out.
pub type AsyncFn = dyn Fn(Vec<ArrayRef>) -> AsyncResult + Send + Sync;

/// A call of an asynchronous function for each row.
#[derive(Clone)]
pub struct AsyncCall {
    name: String,
    function: Arc<AsyncFn>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    returns: DataType,
    schema: SchemaRef,
    settings: AsyncSettings,
}

impl AsyncCall {
    /// Makes a call of `function`, named `name`, that appends a column to the rows of `input`.
    #[must_use]
    pub fn new(
        (name, function): (&str, Arc<AsyncFn>),
        arguments: Vec<Arc<dyn PhysicalExpr>>,
        (column, returns): (&str, &DataType),
        input: &SchemaRef,
        settings: AsyncSettings,
    ) -> Self {
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(column, returns.clone(), true)));
        let schema = Arc::new(Schema::new(fields));
        Self { name: name.to_owned(), function, arguments, returns: returns.clone(), schema, settings }
    }
}

impl fmt::Debug for AsyncCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

#[async_trait]
impl AsyncOperatorSpec for AsyncCall {
    fn describe(&self) -> String {
        let arguments: Vec<String> = self.arguments.iter().map(sql).collect();
        let column = self.schema.fields().last().map_or("", |field| field.name());
        let order = if self.settings.ordered { "" } else { ", unordered" };
        format!("call {}({}) AS {column}{order}", self.name, arguments.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn settings(&self) -> AsyncSettings {
        self.settings.clone()
    }

    fn reason(&self) -> Reason {
        Reason::FailedUdf
    }

    async fn open(&self, _context: &TaskContext) -> Result<Arc<dyn AsyncOperator>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl AsyncOperator for AsyncCall {
    async fn answer(&self, rows: RecordBatch) -> Result<Answer> {
        let arguments = self.arguments.iter().map(|argument| evaluate(argument, &rows)).collect::<Result<Vec<_>, _>>();
        let n_rows = rows.num_rows();
        let values = match (self.function)(arguments.map_err(engine_error)?).await {
            Ok(values) => values,
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
            Err(error) => return Err(Error::data(error.to_string())),
        };
        if values.len() != n_rows {
            let name = &self.name;
            return Err(Error::data(format!("{name} answered with {} values for {n_rows} rows", values.len())));
        }
        if *values.data_type() != self.returns {
            let (name, found, wanted) = (&self.name, values.data_type(), &self.returns);
            let error = Error::invalid(format!("{name} answered with {found}, but is declared to return {wanted}"));
            return Err(error.with_help("declare the type that the function returns"));
        }
        let mut columns = rows.columns().to_vec();
        columns.push(values);
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        Ok(Answer { rows, of: (0..u32::try_from(n_rows).unwrap_or(u32::MAX)).collect(), failed: Vec::new() })
    }
}
