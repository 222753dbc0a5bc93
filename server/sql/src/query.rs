//! One query: statements in, a plan out.

use std::collections::VecDeque;

use anyhow::{Context as _, bail, ensure};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};

/// Statements of one command at most.
const MOST_STATEMENTS: usize = 1000;

fn parse(sql: &str) -> anyhow::Result<VecDeque<Statement>> {
    let statements = DFParser::parse_sql(sql).context("the query cannot be parsed")?;
    ensure!(!statements.is_empty(), "the query is empty");
    ensure!(
        statements.len() <= MOST_STATEMENTS,
        "the query has more than {MOST_STATEMENTS} statements"
    );
    Ok(statements)
}

/// Finds mistakes of a query before a model is loaded. A query whose earlier statements make its tables is only parsed.
///
/// # Errors
/// It cannot be parsed or planned.
pub(crate) async fn check(context: &SessionContext, sql: &str) -> anyhow::Result<()> {
    let mut statements = parse(sql)?;
    if statements.len() == 1
        && let Some(statement) = statements.pop_front()
    {
        context.state().statement_to_plan(statement).await?;
    }
    Ok(())
}

/// Runs all statements but the last, and plans the last one. So `CREATE EXTERNAL TABLE …; SELECT …` works.
///
/// # Errors
/// A statement cannot be planned or run.
pub(crate) async fn plan(context: &SessionContext, sql: &str) -> anyhow::Result<DataFrame> {
    let mut statements = parse(sql)?;
    let last = statements.pop_back().context("the query is empty")?;
    for statement in statements {
        let plan = context.state().statement_to_plan(statement).await?;
        context.execute_logical_plan(plan).await?.collect().await?;
    }
    let plan = context.state().statement_to_plan(last).await?;
    Ok(context.execute_logical_plan(plan).await?)
}

/// Checks that a query treats each row by itself, so that its results over the shards are together that over the whole table.
///
/// # Errors
/// It is not one SELECT, or has an operator that looks at several rows.
pub(crate) async fn check_rows_are_independent(
    context: &SessionContext,
    sql: &str,
) -> anyhow::Result<()> {
    let mut statements = parse(sql)?;
    ensure!(
        statements.len() == 1,
        "--output-dir runs one SELECT: declare tables with --table NAME=PATH"
    );
    let statement = statements.pop_front().context("the query is empty")?;
    let plan = context.state().statement_to_plan(statement).await?;
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        found = match node {
            LogicalPlan::Aggregate(_) => Some("GROUP BY or an aggregate function"),
            LogicalPlan::Distinct(_) => Some("DISTINCT"),
            LogicalPlan::Window(_) => Some("a window function"),
            LogicalPlan::Limit(_) => Some("LIMIT"),
            LogicalPlan::Ddl(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::Statement(_) => Some("a statement that is no SELECT"),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    })?;
    if let Some(found) = found {
        bail!(
            "--output-dir runs the query once for each shard, and this query has {found}, which would see the rows of one shard only: run that \
             part afterwards, on the folder of the results"
        );
    }
    Ok(())
}
