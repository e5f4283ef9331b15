//! Joins two inputs: the declared form.
//!
//! It never knows how rows are kept; see `operator` for what is kept and what bounds it.

mod operator;
mod side;

use crate::expression::{check_relabel, duration_words, engine_error, sql};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{Error, Operator, OperatorSpec, Result, TaskContext};
use std::sync::Arc;

/// Which rows a join yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs that match.
    Inner,
    /// Pairs, and left rows without a match.
    Left,
    /// Pairs, and right rows without a match.
    Right,
    /// Pairs, and rows of both sides without a match.
    Full,
    /// Left rows with a match.
    LeftSemi,
    /// Left rows without a match.
    LeftAnti,
    /// Left rows, each with whether it has a match.
    LeftMark,
}

/// The name of the column that says whether a row has a match.
const MARK: &str = "mark";

impl JoinKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Right => "right",
            Self::Full => "full",
            Self::LeftSemi => "left semi",
            Self::LeftAnti => "left anti",
            Self::LeftMark => "left mark",
        }
    }

    /// Whether the columns of both sides are in the output.
    pub(crate) fn has_both_sides(self) -> bool {
        match self {
            Self::Inner | Self::Left | Self::Right | Self::Full => true,
            Self::LeftSemi | Self::LeftAnti | Self::LeftMark => false,
        }
    }
}

/// What a join is made of.
#[derive(Debug, Clone)]
pub struct JoinConfig {
    /// Which rows it yields.
    pub kind: JoinKind,
    /// The columns of input 0.
    pub left: SchemaRef,
    /// The columns of input 1.
    pub right: SchemaRef,
    /// Expressions over left and over right rows that must be equal; empty for a cross join.
    pub on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    /// What else must be true of a pair, over the left columns followed by the right ones.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Whether two nulls are equal keys.
    pub null_equals_null: bool,
    /// Whether an input retracts rows.
    pub inputs_changing: bool,
}

/// Joins two changing tables by equal keys and a further condition. Both sides are kept as long as they are there.
#[derive(Debug, Clone)]
pub struct Join {
    pub(crate) config: JoinConfig,
    pub(crate) schema: SchemaRef,
    /// For each side, after which time a row is forgotten.
    pub(crate) ttl_ns: [Option<i64>; 2],
}

impl Join {
    /// Makes a join.
    ///
    /// # Errors
    /// `Internal` when the two sides of a key have different types.
    pub fn new(config: JoinConfig) -> Result<Self> {
        for (left, right) in &config.on {
            let types = (left.data_type(&config.left), right.data_type(&config.right));
            let (left_type, right_type) = (types.0.map_err(engine_error)?, types.1.map_err(engine_error)?);
            if left_type != right_type {
                return Err(Error::internal(format!("a join key of types {left_type} and {right_type}")));
            }
        }
        let (left_null, right_null) = match config.kind {
            JoinKind::Inner | JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => (false, false),
            JoinKind::Left => (false, true),
            JoinKind::Right => (true, false),
            JoinKind::Full => (true, true),
        };
        let side = |schema: &SchemaRef, nullable: bool| -> Vec<Field> {
            let field = |field: &Arc<Field>| field.as_ref().clone().with_nullable(nullable || field.is_nullable());
            schema.fields().iter().map(field).collect()
        };
        let mut fields = side(&config.left, left_null);
        if config.kind.has_both_sides() {
            fields.extend(side(&config.right, right_null));
        }
        if config.kind == JoinKind::LeftMark {
            fields.push(Field::new(MARK, DataType::Boolean, false));
        }
        Ok(Self { config, schema: Arc::new(Schema::new(fields)), ttl_ns: [None, None] })
    }

    /// Says for each side after which time a row is forgotten that has neither come nor gone. Pairs that are shown stay.
    #[must_use]
    pub fn forgetting(self, ttl_ns: [Option<i64>; 2]) -> Self {
        Self { ttl_ns, ..self }
    }

    /// Gives the output columns other names, nullability and metadata.
    ///
    /// # Errors
    /// `Internal` when the types differ.
    pub fn with_schema(self, schema: SchemaRef) -> Result<Self> {
        check_relabel(&self.schema, &schema)?;
        Ok(Self { schema, ..self })
    }

    /// Returns whether the output retracts rows.
    #[must_use]
    pub fn output_changing(&self) -> bool {
        // What comes can only add pairs, and what has a match keeps it.
        let only_grows = matches!(self.config.kind, JoinKind::Inner | JoinKind::LeftSemi);
        self.config.inputs_changing || !only_grows
    }
}

impl OperatorSpec for Join {
    fn describe(&self) -> String {
        let on: Vec<String> = self.config.on.iter().map(|(l, r)| format!("{} = {}", sql(l), sql(r))).collect();
        let mut text = format!("join {} on [{}]", self.config.kind.name(), on.join(", "));
        if let Some(filter) = &self.config.filter {
            text.push_str(&format!(" where {}", sql(filter)));
        }
        if self.config.null_equals_null {
            text.push_str(", nulls are equal");
        }
        for (side, ttl_ns) in ["left", "right"].iter().zip(self.ttl_ns) {
            if let Some(ttl_ns) = ttl_ns {
                text.push_str(&format!(", {side} rows forgotten after {}", duration_words(ttl_ns)));
            }
        }
        text
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn state(&self) -> Option<String> {
        let of = |side: &str, ttl_ns: Option<i64>| match ttl_ns {
            Some(ttl_ns) => format!("{side} rows, freed {} after they came", duration_words(ttl_ns)),
            None => format!("all {side} rows"),
        };
        Some(match (self.ttl_ns, self.config.inputs_changing) {
            ([None, None], true) => "all rows of both sides; a row is freed when it is taken back".to_owned(),
            ([None, None], false) => "all rows of both sides; never freed".to_owned(),
            ([left, right], _) => format!("{}; {}", of("left", left), of("right", right)),
        })
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(operator::JoinOperator::new(self, context)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{expr, run, schema};
    use expect_test::{Expect, expect};

    fn join(kind: JoinKind, null_equals_null: bool) -> (Join, [SchemaRef; 2]) {
        let (left, right) = (schema("a int, b int"), schema("c int, d int"));
        let on = vec![(expr("a", &left), expr("c", &right))];
        let inputs = [left.clone(), right.clone()];
        let config = JoinConfig { kind, left, right, on, filter: None, null_equals_null, inputs_changing: true };
        (Join::new(config).expect("a join"), inputs)
    }

    fn check(kind: JoinKind, script: &str, output: Expect) {
        let (join, inputs) = join(kind, false);
        output.assert_eq(&run(&join, &inputs, script));
    }

    #[test]
    fn describes_itself() {
        expect!["join left on [a = c], nulls are equal"].assert_eq(&join(JoinKind::Left, true).0.describe());
    }

    #[test]
    fn pairs_come_with_their_second_row_and_go_with_either() {
        check(
            JoinKind::Inner,
            "+ 1 10\n+ 2 20\n\n#1\n+ 1 7\n+ 1 8\n+ _ 9\n\n- 1 7\n\n#0\n- 1 10\n+ _ 1",
            expect![[r#"
            + 1 10 1 7
            + 1 10 1 8
            - 1 10 1 7
            - 1 10 1 8
        "#]],
        );
    }

    #[test]
    fn an_outer_row_goes_when_its_first_match_comes_and_returns_when_the_last_goes() {
        let script = "+ 1 10\n+ _ 11\n\n#1\n+ 1 7\n\n+ 1 8\n\n- 1 7\n\n- 1 8\n\n#0\n- _ 11";
        check(
            JoinKind::Left,
            script,
            expect![[r#"
            + _ 11 _ _
            + 1 10 _ _
            - 1 10 _ _
            + 1 10 1 7
            + 1 10 1 8
            - 1 10 1 7
            - 1 10 1 8
            + 1 10 _ _
            - _ 11 _ _
        "#]],
        );
    }

    #[test]
    fn semi_and_anti_joins_count_matches_not_pairs() {
        let script = "+ 1 10\n+ 2 20\n+ _ 30\n\n#1\n+ 1 7\n+ 1 8\n\n- 1 7\n\n- 1 8";
        check(
            JoinKind::LeftSemi,
            script,
            expect![[r#"
            + 1 10
            - 1 10
        "#]],
        );
        check(
            JoinKind::LeftAnti,
            script,
            expect![[r#"
            + _ 30
            + 1 10
            + 2 20
            - 1 10
            + 1 10
        "#]],
        );
    }

    #[test]
    fn a_mark_is_restated_when_the_first_match_comes_and_when_the_last_goes() {
        let script = "+ 1 10\n+ _ 30\n\n#1\n+ 1 7\n\n+ 1 8\n\n#0\n+2 1 11\n\n#1\n- 1 7\n- 1 8";
        check(
            JoinKind::LeftMark,
            script,
            expect![[r#"
                + _ 30 false
                + 1 10 false
                - 1 10 false
                + 1 10 true
                +2 1 11 true
                - 1 10 true
                -2 1 11 true
                + 1 10 false
                +2 1 11 false
            "#]],
        );
    }

    #[test]
    fn nulls_match_where_they_are_equal() {
        let (join, inputs) = join(JoinKind::Inner, true);
        expect![[r#"
            + _ 1 _ 2
        "#]]
        .assert_eq(&run(&join, &inputs, "+ _ 1\n\n#1\n+ _ 2"));
    }
}
