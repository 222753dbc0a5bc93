//! One query: statements in, a plan out.

use std::collections::VecDeque;

use anyhow::{Context as _, ensure};
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

/// Plans the only statement of a query, and does not run it.
///
/// # Errors
/// There is another number of statements, or it cannot be planned.
pub(crate) async fn only_plan(context: &SessionContext, sql: &str) -> anyhow::Result<LogicalPlan> {
    let mut statements = parse(sql)?;
    ensure!(
        statements.len() == 1,
        "--output-dir runs one SELECT: declare tables with --table NAME=PATH"
    );
    let statement = statements.pop_front().context("the query is empty")?;
    Ok(context.state().statement_to_plan(statement).await?)
}
