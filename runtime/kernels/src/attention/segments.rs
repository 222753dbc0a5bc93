//! Runs of queries that follow one another in a sequence, and the tasks that threads share.

use std::ops::Range;

use super::Attention;

/// Queries that are consecutive tokens of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Row of the first query in `q`.
    pub(super) first_query: usize,
    /// Number of queries.
    pub(super) queries: usize,
    /// Position of the first query in its sequence.
    pub(super) position: usize,
    /// Start of the sequence in `kv_index`.
    pub(super) sequence: usize,
}

/// Some queries of a segment, and one key head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) segment: usize,
    pub(super) head: usize,
    /// Among the segment's queries.
    pub(super) queries: Range<usize>,
}

/// The segments of all queries.
pub(super) fn of(attention: &Attention<'_>) -> Vec<Segment> {
    let tokens = &attention.tokens;
    let mut segments: Vec<Segment> = Vec::new();
    let mut previous = None;
    for query in 0..attention.queries() {
        let token = tokens.queries.map_or(query, |rows| rows[query] as usize);
        let slot = tokens.token_index[token] as usize;
        let position = slot % tokens.length;
        let follows = position > 0 && previous == Some(slot - 1);
        match segments.last_mut() {
            Some(segment) if follows => segment.queries += 1,
            _ => segments.push(Segment {
                first_query: query,
                queries: 1,
                position,
                sequence: slot - position,
            }),
        }
        previous = Some(slot);
    }
    segments
}

/// Tasks of at most this many queries, those with the most keys first, so that threads finish at about the same time.
pub(super) fn tasks(attention: &Attention<'_>, segments: &[Segment], queries: usize) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (number, segment) in segments.iter().enumerate() {
        for first in (0..segment.queries).step_by(queries) {
            let end = segment.queries.min(first + queries);
            tasks.extend((0..attention.heads.key_value).map(|head| Task {
                segment: number,
                head,
                queries: first..end,
            }));
        }
    }
    let cost = |task: &Task| {
        let segment = &segments[task.segment];
        (segment.position + task.queries.end) * task.queries.len()
    };
    tasks.sort_by_key(|task| std::cmp::Reverse(cost(task)));
    tasks
}
