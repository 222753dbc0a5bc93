//! Whether a query may run shard by shard: its results over the shards must together be that over the whole table.
//!
//! That is so if each row of the result comes from one row of the divided table. So the plan reads that table once, and between it and the
//! result are operators alone that treat its rows one by one. Other tables are whole in each shard, and anything may happen to them before
//! they are joined.

use anyhow::{bail, ensure};
use datafusion::common::JoinType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

/// Checks that the plan can be divided by the files of this table.
///
/// # Errors
/// It cannot; the message names the operator that would see the rows of one shard only.
pub(super) fn check(plan: &LogicalPlan, table: &str) -> anyhow::Result<()> {
    let reads = reads(plan, table)?;
    ensure!(
        reads != 0,
        "--output-dir divides the table {table}, and the query does not read it"
    );
    ensure!(
        reads == 1,
        "--output-dir divides the table {table}, and the query reads it {reads} times: rows of different shards would never meet"
    );
    let mut node = plan;
    loop {
        node = match node {
            LogicalPlan::TableScan(scan) if scan.table_name.table() == table => return Ok(()),
            LogicalPlan::Projection(node) => &node.input,
            LogicalPlan::Filter(node) => &node.input,
            LogicalPlan::SubqueryAlias(node) => &node.input,
            LogicalPlan::Sort(node) => &node.input,
            LogicalPlan::Unnest(node) => &node.input,
            LogicalPlan::Join(join) => {
                use JoinType::{
                    Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark,
                    RightSemi,
                };
                // A join repeats or drops rows of the divided table, each by itself. Rows of the other table must not appear because
                // a shard lacks their partners.
                let is_left = self::reads(&join.left, table)? == 1;
                match (join.join_type, is_left) {
                    (Inner | Left | LeftSemi | LeftAnti | LeftMark, true) => &join.left,
                    (Inner | Right | RightSemi | RightAnti | RightMark, false) => &join.right,
                    (
                        Full | Left | Right | LeftSemi | LeftAnti | LeftMark | RightSemi
                        | RightAnti | RightMark,
                        _,
                    ) => {
                        return refused("a join that keeps rows of the other table");
                    }
                }
            }
            LogicalPlan::Aggregate(_) => return refused("GROUP BY or an aggregate function"),
            LogicalPlan::Distinct(_) => return refused("DISTINCT"),
            LogicalPlan::Window(_) => return refused("a window function"),
            LogicalPlan::Limit(_) => return refused("LIMIT"),
            LogicalPlan::Union(_) => return refused("UNION"),
            LogicalPlan::Ddl(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::Statement(_) => return refused("a statement that is no SELECT"),
            _ => {
                return refused(
                    "an operator that may compare rows, or a subquery over the divided table",
                );
            }
        };
    }
}

fn refused(operator: &str) -> anyhow::Result<()> {
    bail!(
        "--output-dir runs the query once for each shard, and this query has {operator}, which would see the rows of one shard only: run \
         that part afterwards, on the folder of the results"
    )
}

/// How often a plan, with its subqueries, reads a table.
fn reads(plan: &LogicalPlan, table: &str) -> anyhow::Result<usize> {
    let mut reads = 0;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.table_name.table() == table
        {
            reads += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn divided(query: &str) -> Result<(), String> {
        let context = SessionContext::new();
        for table in ["t", "o"] {
            let create = format!("CREATE TABLE {table} (id BIGINT, x VARCHAR)");
            let created = context.sql(&create).await.unwrap();
            created.collect().await.unwrap();
        }
        let plan = crate::query::only_plan(&context, query).await.unwrap();
        check(&plan, "t").map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn queries_whose_rows_come_from_one_row_each_are_divided() {
        for query in [
            "SELECT id, upper(x) FROM t WHERE id > 3 ORDER BY id",
            "WITH a AS (SELECT * FROM t) SELECT b.x FROM (SELECT x FROM a) AS b",
            "SELECT t.x, o.x FROM t JOIN o ON t.id = o.id",
            "SELECT t.x FROM o, t",
            "SELECT t.x FROM t LEFT JOIN (SELECT id, count(*) AS n FROM o GROUP BY id) AS o ON t.id = o.id",
            "SELECT t.x FROM o RIGHT JOIN t ON t.id = o.id",
            "SELECT x FROM t WHERE id IN (SELECT id FROM o) AND id > (SELECT max(id) FROM o)",
            "SELECT unnest(make_array(id, 2)) FROM t",
        ] {
            assert_eq!(divided(query).await, Ok(()), "{query}");
        }
    }

    #[tokio::test]
    async fn queries_that_would_see_a_shard_only_are_errors() {
        for (query, reason) in [
            ("SELECT count(*) FROM t", "GROUP BY"),
            ("SELECT DISTINCT x FROM t", "DISTINCT"),
            ("SELECT x FROM t LIMIT 3", "LIMIT"),
            ("SELECT x FROM (SELECT x FROM t LIMIT 3)", "LIMIT"),
            ("SELECT row_number() OVER (ORDER BY id) FROM t", "window"),
            ("SELECT x FROM t UNION ALL SELECT x FROM o", "UNION"),
            (
                "SELECT a.x FROM t AS a JOIN t AS b ON a.id = b.id + 2",
                "reads it 2 times",
            ),
            (
                "SELECT x FROM t WHERE id + 2 IN (SELECT id FROM t)",
                "reads it 2 times",
            ),
            ("SELECT x FROM o WHERE id IN (SELECT id FROM t)", "subquery"),
            ("SELECT x, (SELECT max(id) FROM t) FROM o", "subquery"),
            (
                "SELECT t.x FROM t RIGHT JOIN o ON t.id = o.id",
                "keeps rows of the other table",
            ),
            (
                "SELECT t.x FROM o LEFT JOIN t ON t.id = o.id",
                "keeps rows of the other table",
            ),
            (
                "SELECT t.x FROM t FULL JOIN o ON t.id = o.id",
                "keeps rows of the other table",
            ),
            ("SELECT x FROM t EXCEPT SELECT x FROM o", ""),
            ("SELECT 1", "does not read it"),
            ("SELECT x FROM o", "does not read it"),
            ("COPY t TO 'a.csv'", "no SELECT"),
        ] {
            let said = divided(query).await.expect_err(query);
            assert!(said.contains(reason), "{query}: {said}");
        }
    }
}
