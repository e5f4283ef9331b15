//! Asynchronous functions of the user, in Rust: calls of a service or a model, which SQL calls like any other function.
//!
//! To the planner such a call is a function that can be typed but not computed; lowering takes it out of its expression
//! and lets an asynchronous operator answer it first. The optimizer sees a volatile function, so that it neither copies
//! nor moves nor merges calls.

use crate::functions::Functions;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as PlanResult, exec_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use headwater_core::{AsyncSettings, Error, Result};
use headwater_operators::AsyncFn;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// An asynchronous scalar function.
///
/// It gets the arguments of some rows, an array each, and answers with an array of as many values. A failure of kind
/// [`Unavailable`](headwater_core::ErrorKind::Unavailable) is tried again, as is a call that takes too long; any other
/// one concerns rows: the rows are asked for in halves until those at fault are alone. Rows that fail for good are dead
/// letters (`failed_udf`), and the pipeline goes on. A panic, or an array of another type than declared, ends it.
///
/// Where rows may be corrected later, the engine keeps the answer of each row and takes back what it gave; so the
/// function need not give the same answer twice.
///
/// ```
/// use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array};
/// use datafusion::arrow::datatypes::DataType;
/// use headwater_core::{Registry, Result};
/// use headwater_sql::{AsyncFunction, Planner};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// async fn lengths(arguments: Vec<ArrayRef>) -> Result<ArrayRef> {
///     // Here a service would be asked for all of them at once.
///     let texts = arguments[0].as_string::<i32>();
///     let lengths: Int64Array = texts.iter().map(|text| text.map(|text| text.len() as i64)).collect();
///     Ok(Arc::new(lengths))
/// }
///
/// # fn main() -> Result<()> {
/// let function = AsyncFunction::new("remote_length", vec![DataType::Utf8], DataType::Int64, lengths)
///     .unordered()
///     .in_flight_max(8)
///     .request_rows_max(100)
///     .timeout(Duration::from_secs(2))
///     .tries(3);
/// let planner = Planner::new(Registry::default()).with_async_functions([function])?;
/// # let _ = planner;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AsyncFunction {
    name: String,
    arguments: Vec<DataType>,
    returns: DataType,
    function: Arc<AsyncFn>,
    settings: AsyncSettings,
}

impl AsyncFunction {
    /// Makes a function out of an `async fn`. It is ordered, and asked as [`AsyncSettings`] has it by default.
    pub fn new<F, A>(name: impl Into<String>, arguments: Vec<DataType>, returns: DataType, function: F) -> Self
    where
        F: Fn(Vec<ArrayRef>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<ArrayRef>> + Send + 'static,
    {
        let function: Arc<AsyncFn> = Arc::new(move |arguments| Box::pin(function(arguments)));
        Self { name: name.into(), arguments, returns, function, settings: AsyncSettings::default() }
    }

    /// Lets results leave as they come. Watermarks and barriers overtake no row even so.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.settings.ordered = false;
        self
    }

    /// Sets how many calls of one subtask are on their way at a time.
    #[must_use]
    pub fn in_flight_max(mut self, n: usize) -> Self {
        self.settings.in_flight_max = n;
        self
    }

    /// Sets how many rows one call gets; 1 for a service that answers single questions.
    #[must_use]
    pub fn request_rows_max(mut self, n: usize) -> Self {
        self.settings.request_rows_max = n;
        self
    }

    /// Sets how long one try may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Sets how often a call is tried, the first time included.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.settings.tries = tries;
        self
    }

    /// Adds the function to those that are known.
    pub(crate) fn register(self, functions: &mut Functions) -> Result<()> {
        let name = self.name.as_str();
        if name != name.to_lowercase() {
            let error = Error::invalid(format!("the function '{name}' could not be called: SQL folds names"));
            return Err(error.with_help(format!("call it '{}'", name.to_lowercase())));
        }
        if functions.is_known(name) {
            let error = Error::invalid(format!("there is a function '{name}' already"));
            return Err(error.with_help("give yours another name"));
        }
        self.settings.check().map_err(|error| error.at(format!("function '{name}'")))?;
        let signature = Signature::user_defined(Volatility::Volatile);
        let name = self.name.clone();
        let stub = ScalarUDF::new_from_impl(Deferred { function: self, signature });
        functions.scalar.insert(name, Arc::new(stub));
        Ok(())
    }
}

/// A function that is typed and planned, and answered by an operator of its own.
#[derive(Clone)]
pub(crate) struct Deferred {
    function: AsyncFunction,
    signature: Signature,
}

impl Deferred {
    pub(crate) fn function(&self) -> (&str, Arc<AsyncFn>) {
        (&self.function.name, self.function.function.clone())
    }

    pub(crate) fn returns(&self) -> &DataType {
        &self.function.returns
    }

    pub(crate) fn settings(&self) -> AsyncSettings {
        self.function.settings.clone()
    }
}

impl PartialEq for Deferred {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.function.function, &other.function.function)
    }
}

impl Eq for Deferred {}

impl Hash for Deferred {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function.name)
    }
}

impl ScalarUDFImpl for Deferred {
    fn name(&self) -> &str {
        &self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> PlanResult<DataType> {
        Ok(self.function.returns.clone())
    }

    fn coerce_types(&self, given: &[DataType]) -> PlanResult<Vec<DataType>> {
        let AsyncFunction { name, arguments, .. } = &self.function;
        if given.len() != arguments.len() {
            return plan_err!("{name} takes {} arguments, not {}", arguments.len(), given.len());
        }
        for (at, (given, wanted)) in given.iter().zip(arguments).enumerate() {
            if !fits(given, wanted) {
                return plan_err!("argument {} of {name} is {given}, not {wanted}", at + 1);
            }
        }
        Ok(arguments.clone())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        exec_err!("the asynchronous function '{}' cannot be called here", self.function.name)
    }
}

/// Whether an argument may be cast without a word.
fn fits(given: &DataType, wanted: &DataType) -> bool {
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    given == wanted
        || *given == DataType::Null
        || (given.is_numeric() && wanted.is_numeric())
        || (given.is_temporal() && wanted.is_temporal())
        || (is_text(given) && is_text(wanted))
}

/// Returns the asynchronous function that a call calls.
pub(crate) fn deferred(call: &ScalarFunction) -> Option<&Deferred> {
    (call.func.inner().as_ref() as &dyn std::any::Any).downcast_ref::<Deferred>()
}

/// Finds the calls of asynchronous functions whose arguments have none themselves, each once.
pub(crate) fn innermost_calls<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> Vec<Expr> {
    let mut found: Vec<Expr> = Vec::new();
    for expr in exprs {
        let walk = expr.apply(|expr| {
            let Expr::ScalarFunction(call) = expr else { return Ok(TreeNodeRecursion::Continue) };
            let has_others = !innermost_calls(&call.args).is_empty();
            if deferred(call).is_some() && !has_others {
                if !found.contains(expr) {
                    found.push(expr.clone());
                }
                return Ok(TreeNodeRecursion::Jump);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(walk.is_ok(), "the walk itself never fails");
    }
    found
}
