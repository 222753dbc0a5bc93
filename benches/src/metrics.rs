//! Reads the server's `/metrics`.

use std::collections::HashMap;

use crate::client::Client;

/// Values by series, in the form of Prometheus' text format: `name{label="value"}`.
#[derive(Debug, Clone, Default)]
pub struct Metrics(HashMap<String, f64>);

impl Metrics {
    /// Reads the metrics of a server.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn scrape(client: &mut Client) -> anyhow::Result<Self> {
        Ok(Self::parse(&client.get("/metrics").await?))
    }

    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// Returns the sum of the series with this name and all these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        let of_name = |series: &str| series.split('{').next() == Some(name);
        self.0
            .iter()
            .filter(|(series, _)| of_name(series) && labels.iter().all(|l| series.contains(l)))
            .map(|(_, value)| value)
            .sum()
    }

    /// Returns a counter's increase since `earlier`.
    #[must_use]
    pub fn grown(&self, earlier: &Self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum(name, labels) - earlier.sum(name, labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\na_b{x=\"1\"} 9\n\nc 1.5\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("a", &[("x", "1")]), 7.0);
        assert_eq!(metrics.sum("a", &[("y", "3")]), 4.0);
        assert_eq!(metrics.sum("c", &[]), 1.5);
        assert_eq!(metrics.sum("nothing", &[]), 0.0);
    }
}
