//! Parameters of a statement: `?`, `$1`, `$name`.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Value, VisitMut, visit_expressions_mut};

use crate::{Error, Result};

/// Numbers every `?` from left to right as `$1`, `$2`, …, on the syntax tree: a question mark in a
/// string or a comment is none.
pub(crate) fn number(statement: &mut Statement) -> Result<()> {
    let mut places = Vec::new();
    let mut numbered = false;
    each(statement, &mut |value, at| match value {
        Value::Placeholder(name) if name == "?" => places.push(at),
        Value::Placeholder(_) => numbered = true,
        _ => {}
    });
    if places.is_empty() {
        return Ok(());
    }
    if numbered {
        return Err(Error::Parameters("a statement has either ? or numbered parameters, not both".to_owned()));
    }
    places.sort_unstable();
    each(statement, &mut |value, at| {
        if let (Value::Placeholder(name), Ok(index)) = (&mut *value, places.binary_search(&at)) {
            *name = format!("${}", index + 1);
        }
    });
    Ok(())
}

/// Line and column of a value in the statement's text.
type Place = (u64, u64);

fn each(statement: &mut Statement, visit: &mut impl FnMut(&mut Value, Place)) {
    match statement {
        Statement::Statement(inner) => each_in(inner.as_mut(), visit),
        Statement::Explain(explain) => each(&mut explain.statement, visit),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {}
    }
}

fn each_in<N: VisitMut>(node: &mut N, visit: &mut impl FnMut(&mut Value, Place)) {
    let _never_breaks: ControlFlow<()> = visit_expressions_mut(node, |expression| {
        if let Expr::Value(value) = expression {
            let start = value.span.start;
            visit(&mut value.value, (start.line, start.column));
        }
        ControlFlow::Continue(())
    });
}

/// One field per parameter in order; a parameter whose type the statement does not tell is `Null`.
pub(crate) fn schema(plan: &LogicalPlan) -> Result<SchemaRef> {
    let mut fields: Vec<(String, DataType)> =
        plan.get_parameter_types()?.into_iter().map(|(name, kind)| (name, kind.unwrap_or(DataType::Null))).collect();
    fields.sort_by_key(|(name, _)| (position(name), name.clone()));
    let positional = fields.iter().filter(|(name, _)| position(name).is_some()).count();
    let last = fields.iter().filter_map(|(name, _)| position(name)).max().unwrap_or(0);
    if positional != 0 && (positional != fields.len() || last != positional) {
        return Err(Error::Parameters(format!("parameters must be $1 to ${last} without a gap")));
    }
    let fields: Vec<Field> = fields.into_iter().map(|(name, kind)| Field::new(name, kind, true)).collect();
    Ok(Arc::new(Schema::new(fields)))
}

fn position(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse().ok()
}

/// The values of one row of bound parameters.
pub(crate) fn values(schema: &Schema, bound: &RecordBatch, row: usize) -> Result<ParamValues> {
    if bound.num_columns() != schema.fields().len() {
        return Err(Error::Parameters(format!(
            "the statement has {} parameters, {} are bound",
            schema.fields().len(),
            bound.num_columns()
        )));
    }
    let scalars = (0..bound.num_columns())
        .map(|column| Ok(ScalarValue::try_from_array(bound.column(column), row)?))
        .collect::<Result<Vec<_>>>()?;
    if schema.fields().iter().all(|field| position(field.name()).is_some()) {
        return Ok(scalars.into());
    }
    let named: Vec<(String, ScalarValue)> =
        schema.fields().iter().map(|field| field.name().trim_start_matches('$').to_owned()).zip(scalars).collect();
    Ok(named.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::parser::DFParser;

    fn numbered(sql: &str) -> Result<String> {
        let mut statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
        number(&mut statement)?;
        Ok(statement.to_string())
    }

    #[test]
    fn question_marks_are_numbered_from_left_to_right() {
        let text = numbered("select ? + a, '?' from t -- ?\n where b between ? and ? limit ?").unwrap();
        assert_eq!(text, "SELECT $1 + a, '?' FROM t WHERE b BETWEEN $2 AND $3 LIMIT $4");
        assert_eq!(numbered("explain select ?").unwrap(), "EXPLAIN SELECT $1");
    }

    #[test]
    fn the_two_ways_of_naming_parameters_do_not_mix() {
        assert!(numbered("select ?, $1").is_err());
        assert_eq!(numbered("select $2, $1").unwrap(), "SELECT $2, $1");
    }
}
