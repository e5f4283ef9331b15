//! Which columns a source delivers, and the operators in its task that make those of the table out of them: what reads
//! change events, fills in defaults, computes generated columns and refuses rows without a value where there must be
//! one. Only what somebody needs is read and computed. No state.

use super::{Lowering, Scope, qualified};
use crate::declared::{Declared, Origin};
use crate::table::{Reader, Table};
use crate::windows::is_event_time;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, when};
use datafusion::physical_expr::expressions;
use headwater_core::{OperatorSpec, Result, SourceSpec};
use headwater_operators::{self as operators, Deletions};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A source, and the operators that run in its task.
pub(super) struct Columns {
    pub(super) source: Arc<dyn SourceSpec>,
    pub(super) operators: Vec<Arc<dyn OperatorSpec>>,
    /// The columns that leave the last of them.
    pub(super) schema: SchemaRef,
}

impl Lowering<'_> {
    /// Reads the columns `kept` of a table.
    pub(super) fn source_columns(
        &self,
        table: &Table,
        reader: &Reader,
        kept: &[usize],
        scope: Scope<'_>,
    ) -> Result<Columns> {
        let rows = Arc::new(reader.schema.project(kept)?);
        match &table.declared {
            Some(declared) if reader.changelog.is_some() => changes(reader, declared, kept, &rows, scope),
            Some(declared) if (0..declared.origins.len()).any(|column| declared.is_computed(column)) => {
                let delivered = declared.delivered();
                let exprs = expressions_of(declared, kept, scope)?;
                let needed = needed(&exprs, &delivered);
                let mut columns = narrowed(reader.source.clone(), Vec::new(), &delivered, &needed, None)?;
                let computed: Vec<usize> = (0..kept.len()).filter(|at| declared.is_computed(kept[*at])).collect();
                let must = |at: &usize| !rows.field(*at).is_nullable();
                let required = computed.iter().copied().filter(must).collect();
                compute(
                    &mut columns,
                    &exprs,
                    &rows,
                    Computed { computed, required, deletions: Deletions::Drop },
                    scope,
                )?;
                Ok(columns)
            }
            _ => {
                let decode: Vec<Arc<dyn OperatorSpec>> = reader.decode.iter().cloned().collect();
                narrowed(reader.source.clone(), decode, &reader.schema, kept, Some(rows))
            }
        }
    }
}

/// Reads change events: their rows have all columns, of which those that are needed go on.
fn changes(
    reader: &Reader,
    declared: &Declared,
    kept: &[usize],
    rows: &SchemaRef,
    scope: Scope<'_>,
) -> Result<Columns> {
    let delivered = declared.delivered();
    let exprs = expressions_of(declared, kept, scope)?;
    let key = reader.changelog.clone().unwrap_or_default();
    let key_exprs: Vec<Expr> =
        kept.iter().zip(&exprs).filter(|(at, _)| key.contains(at)).map(|(_, e)| e.clone()).collect();
    let identity = needed(&key_exprs, &delivered);
    let is_required = |column: &usize| {
        let field = reader.schema.field(*column);
        matches!(declared.origins[*column], Origin::Given { default: None })
            && (!field.is_nullable() || is_event_time(field))
    };
    let required = (0..reader.schema.fields().len()).filter(is_required);
    let required = required.filter_map(|column| delivered.index_of(reader.schema.field(column).name()).ok()).collect();
    let debezium = operators::Debezium::new(delivered.clone(), required, identity)?;
    let schema = debezium.schema();
    let operators: Vec<Arc<dyn OperatorSpec>> = vec![Arc::new(debezium)];
    let mut columns = Columns { source: reader.source.clone(), operators, schema };
    let deletions = if key.is_empty() { Deletions::Drop } else { Deletions::Keep };
    // A deletion by key has nothing but the key.
    let rows = match deletions {
        Deletions::Drop => rows.clone(),
        Deletions::Keep => {
            let loose = |(at, field): (&usize, &Arc<Field>)| {
                field.as_ref().clone().with_nullable(field.is_nullable() || !key.contains(at))
            };
            Arc::new(Schema::new(kept.iter().zip(rows.fields()).map(loose).collect::<Vec<_>>()))
        }
    };
    let must = |at: &usize| {
        let field = reader.schema.field(kept[*at]);
        !field.is_nullable() || is_event_time(field)
    };
    let computed: Vec<usize> = (0..kept.len()).filter(|at| declared.is_computed(kept[*at])).collect();
    let required = computed.iter().copied().filter(must).collect();
    compute(&mut columns, &exprs, &rows, Computed { computed, required, deletions }, scope)?;
    Ok(columns)
}

/// Returns each column as an expression over those that the source delivers.
fn expressions_of(declared: &Declared, kept: &[usize], scope: Scope<'_>) -> Result<Vec<Expr>> {
    let given = |column: usize| {
        let delivered = Expr::Column(Column::new_unqualified(declared.schema.field(column).name()));
        match &declared.origins[column] {
            Origin::Given { default: Some(default) } => {
                when(delivered.clone().is_null(), default.clone()).otherwise(delivered)
            }
            Origin::Given { default: None } | Origin::Metadata { .. } | Origin::Generated(_) => Ok(delivered),
        }
    };
    // A generated column sees the others as a query does: with their defaults.
    let filled = |expr: Expr| match &expr {
        Expr::Column(column) => {
            let column = declared.schema.index_of(&column.name)?;
            Ok(Transformed::yes(given(column)?))
        }
        _ => Ok(Transformed::no(expr)),
    };
    let expression = |column: &usize| match &declared.origins[*column] {
        Origin::Generated(expr) => expr.clone().transform_up(filled).map(|filled| filled.data),
        Origin::Given { .. } | Origin::Metadata { .. } => given(*column),
    };
    kept.iter().map(expression).collect::<datafusion::common::Result<_>>().map_err(|error| scope.fail(error))
}

/// Returns the delivered columns that expressions look at; at least one, so that rows can be counted.
fn needed(exprs: &[Expr], delivered: &Schema) -> Vec<usize> {
    let names = exprs.iter().flat_map(|expr| expr.column_refs()).map(Column::name);
    let mut needed: BTreeSet<usize> = names.filter_map(|name| delivered.index_of(name).ok()).collect();
    if needed.is_empty() && !exprs.is_empty() {
        needed.insert(0);
    }
    needed.into_iter().collect()
}

/// Leaves out the columns that nobody needs, at the source where it can.
fn narrowed(
    mut source: Arc<dyn SourceSpec>,
    mut operators: Vec<Arc<dyn OperatorSpec>>,
    delivered: &SchemaRef,
    kept: &[usize],
    rows: Option<SchemaRef>,
) -> Result<Columns> {
    let schema = match rows {
        Some(rows) => rows,
        None => Arc::new(delivered.project(kept)?),
    };
    if kept.len() < delivered.fields().len() {
        let narrow = if operators.is_empty() { source.project(kept) } else { None };
        match narrow {
            Some(narrow) => source = narrow,
            None => operators.push(Arc::new(pick(kept, delivered)?.with_schema(schema.clone())?)),
        }
    }
    Ok(Columns { source, operators, schema })
}

/// What may turn out null among columns, and what becomes of such a row.
struct Computed {
    /// The columns that are computed or filled in.
    computed: Vec<usize>,
    /// Of those, the ones that must have a value.
    required: Vec<usize>,
    deletions: Deletions,
}

/// Adds what computes columns, and what refuses rows that lack one.
fn compute(columns: &mut Columns, exprs: &[Expr], rows: &SchemaRef, what: Computed, scope: Scope<'_>) -> Result<()> {
    let Computed { computed, required, deletions } = what;
    let input = qualified(vec![None; columns.schema.fields().len()], &columns.schema).map_err(|e| scope.fail(e))?;
    let column = |field: &Arc<Field>| Expr::Column(Column::new_unqualified(field.name()));
    let as_they_are: Vec<Expr> = columns.schema.fields().iter().map(column).collect();
    if as_they_are != exprs {
        let named = exprs.iter().zip(rows.fields());
        let physical = named.map(|(expr, field)| Ok((scope.physical(expr, &input)?, field.name().clone())));
        let project = operators::Project::new(physical.collect::<Result<_>>()?, &columns.schema)?;
        let unchecked = |(at, field): (usize, &Arc<Field>)| {
            field.as_ref().clone().with_nullable(field.is_nullable() || computed.contains(&at))
        };
        columns.schema = Arc::new(Schema::new(rows.fields().iter().enumerate().map(unchecked).collect::<Vec<_>>()));
        columns.operators.push(Arc::new(project.with_schema(columns.schema.clone())?));
    }
    if !required.is_empty() {
        let not_null = operators::NotNull::new(&columns.schema, required, deletions, rows.clone())?;
        columns.operators.push(Arc::new(not_null));
    }
    columns.schema = rows.clone();
    Ok(())
}

fn pick(columns: &[usize], schema: &Schema) -> Result<operators::Project> {
    let exprs = columns.iter().map(|index| {
        let name = schema.field(*index).name();
        (Arc::new(expressions::Column::new(name, *index)) as _, name.clone())
    });
    operators::Project::new(exprs.collect(), &Arc::new(schema.clone()))
}
