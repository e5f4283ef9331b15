//! Aggregate functions made of closures over the values of a group. The state of a group is its values.

use super::value::{Output, SqlValue, coerced};
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

/// A closure over the values of a group. It is implemented for closures; there is nothing to implement.
pub trait AggregateFunction<Value>: Send + Sync + 'static {
    /// The type of the argument.
    fn argument() -> DataType;
    /// The type of the result.
    fn returns() -> DataType;
    /// Makes what collects the values of one group, equal ones once where that is asked for.
    fn collector(self: &Arc<Self>, is_distinct: bool) -> Box<dyn Accumulator>;
}

impl<F, A, R> AggregateFunction<(A, R)> for F
where
    F: Fn(&[A]) -> R + Send + Sync + 'static,
    A: SqlValue,
    R: Output,
{
    fn argument() -> DataType {
        A::data_type()
    }

    fn returns() -> DataType {
        R::Value::data_type()
    }

    fn collector(self: &Arc<Self>, is_distinct: bool) -> Box<dyn Accumulator> {
        let seen = is_distinct.then(HashSet::new);
        Box::new(Collector { function: self.clone(), values: Vec::new(), seen, result: PhantomData })
    }
}

/// The values of one group.
struct Collector<F, A, R> {
    function: Arc<F>,
    values: Vec<A>,
    /// The values, where each counts once.
    seen: Option<HashSet<ScalarValue>>,
    result: PhantomData<fn() -> R>,
}

impl<F, A, R> std::fmt::Debug for Collector<F, A, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.values.len())
    }
}

impl<F, A, R> Collector<F, A, R>
where
    A: SqlValue,
{
    fn take(&mut self, column: &ArrayRef) -> Result<()> {
        for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
            let is_new = match &mut self.seen {
                Some(seen) => seen.insert(ScalarValue::try_from_array(column, row)?),
                None => true,
            };
            if is_new {
                self.values.push(A::read(column, row));
            }
        }
        Ok(())
    }
}

impl<F, A, R> Accumulator for Collector<F, A, R>
where
    F: Fn(&[A]) -> R + Send + Sync + 'static,
    A: SqlValue,
    R: Output,
{
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.take(&columns[0])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = (self.function)(&self.values).into_value().map_err(DataFusionError::Execution)?;
        ScalarValue::try_from_array(&R::Value::column(vec![value]), 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<A>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = A::column(self.values.iter().cloned().map(Some).collect());
        Ok(vec![SingleRowListArrayBuilder::new(values).build_list_scalar()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_list::<i32>().iter().flatten().try_for_each(|values| self.take(&values))
    }
}

/// Makes DataFusion's function of a closure.
pub(super) fn udf<Value, F: AggregateFunction<Value>>(name: &str, function: F) -> AggregateUDF {
    let function = Arc::new(function);
    AggregateUDF::from(Typed {
        name: name.to_owned(),
        argument: F::argument(),
        returns: F::returns(),
        collector: Box::new(move |is_distinct| function.collector(is_distinct)),
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// A closure as DataFusion sees it. Two are the same if their names are: a planner knows one of each name.
struct Typed {
    name: String,
    argument: DataType,
    returns: DataType,
    collector: Box<dyn Fn(bool) -> Box<dyn Accumulator> + Send + Sync>,
    signature: Signature,
}

impl PartialEq for Typed {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Typed {}

impl Hash for Typed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl std::fmt::Debug for Typed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl AggregateUDFImpl for Typed {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerced(&self.name, std::slice::from_ref(&self.argument), given)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok((self.collector)(args.is_distinct))
    }

    fn state_fields(&self, _: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let values = DataType::List(Arc::new(Field::new_list_field(self.argument.clone(), true)));
        Ok(vec![Arc::new(Field::new("values", values, true))])
    }
}
