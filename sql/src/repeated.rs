//! `INSERT INTO t SELECT CAST(NULL AS TEXT), CAST(NULL AS BIGINT)`: both columns have one name to DataFusion, which
//! refuses that, although an insert goes by position. Repeated columns get names of their own here. It changes syntax
//! and nothing else; no state.

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr};
use std::collections::BTreeSet;

/// Names the repeated columns of what is inserted.
pub(crate) fn name_repeated_columns(query: &mut Query) {
    in_body(&mut query.body);
}

fn in_body(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let mut seen = BTreeSet::new();
            for (index, item) in select.projection.iter_mut().enumerate() {
                let name = match item {
                    SelectItem::UnnamedExpr(expr) => base(expr),
                    SelectItem::ExprWithAlias { alias, .. } => alias.value.to_lowercase(),
                    _ => continue,
                };
                if seen.insert(name) {
                    continue;
                }
                if let SelectItem::UnnamedExpr(expr) = item {
                    let alias = Ident::new(format!("column_{}", index + 1));
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            in_body(left);
            in_body(right);
        }
        SetExpr::Query(query) => in_body(&mut query.body),
        _ => {}
    }
}

/// What DataFusion calls an expression after, or near enough: casts have the name of what they cast.
fn base(expr: &Expr) -> String {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => base(expr),
        other => other.to_string().to_lowercase(),
    }
}
