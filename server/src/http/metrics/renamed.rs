//! The former names of renamed metrics, which `/metrics` still shows for one release.

use std::fmt::Write as _;

/// Former and current names of counters.
const RENAMED: [(&str, &str); 5] = [
    (
        "lexivec_rows_asked_total",
        "lexivec_batch_input_tokens_total",
    ),
    (
        "lexivec_rows_computed_total",
        "lexivec_packed_tokens_computed_total",
    ),
    (
        "lexivec_rows_cached_total",
        "lexivec_packed_tokens_cached_total",
    ),
    (
        "lexivec_cache_joined_total",
        "lexivec_cache_coalesced_total",
    ),
    (
        "lexivec_session_rebuilds_total",
        "lexivec_session_recreations_total",
    ),
];

/// Appends each renamed metric under its former name to metrics in Prometheus's text format.
pub(super) fn with_former_names(mut text: String) -> String {
    let mut former = String::new();
    for (old, new) in RENAMED {
        let mut samples = text
            .lines()
            .filter_map(|line| sample_of(line, new))
            .peekable();
        if samples.peek().is_none() {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(former, "# HELP {old} Former name of {new}");
        let _ = writeln!(former, "# TYPE {old} counter");
        for rest in samples {
            let _ = writeln!(former, "{old}{rest}");
        }
        former.push('\n');
    }
    text.push_str(&former);
    text
}

/// The labels and the value of a line, if it is a sample of this metric.
fn sample_of<'a>(line: &'a str, metric: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(metric)?;
    rest.starts_with(['{', ' ']).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_name_has_the_values_of_the_current_one() {
        let text = "# HELP lexivec_cache_coalesced_total Texts\n\
                    # TYPE lexivec_cache_coalesced_total counter\n\
                    lexivec_cache_coalesced_total 7\n\n\
                    lexivec_session_recreations_total{model=\"a\"} 1\n\
                    lexivec_session_recreations_total{model=\"b\"} 2\n\
                    lexivec_session_recreations_total_else 3\n\n";
        let shown = with_former_names(text.to_owned());
        let added = shown.strip_prefix(text).unwrap();
        assert_eq!(
            added,
            "# HELP lexivec_cache_joined_total Former name of lexivec_cache_coalesced_total\n\
             # TYPE lexivec_cache_joined_total counter\n\
             lexivec_cache_joined_total 7\n\n\
             # HELP lexivec_session_rebuilds_total Former name of lexivec_session_recreations_total\n\
             # TYPE lexivec_session_rebuilds_total counter\n\
             lexivec_session_rebuilds_total{model=\"a\"} 1\n\
             lexivec_session_rebuilds_total{model=\"b\"} 2\n\n"
        );
    }
}
