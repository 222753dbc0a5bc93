//! A report as one self-contained HTML page, which needs no other files and no network.

use super::{ComparisonReport, SelfContained};

const PAGE: &str = include_str!("page/report.html");
const STYLE: &str = include_str!("page/report.css");
const SCRIPT: &str = concat!(
    include_str!("page/plots.js"),
    "\n",
    include_str!("page/report.js")
);

impl ComparisonReport {
    /// The report as one self-contained HTML page with plots.
    ///
    /// # Errors
    /// The report cannot be written as JSON, which does not happen with reports of this crate.
    pub fn to_html(&self) -> serde_json::Result<String> {
        let page = SelfContained {
            page: PAGE,
            style: STYLE,
            script: SCRIPT,
            data_place: "{/*REPORT*/}",
        };
        Ok(page.with(&serde_json::to_string(self)?))
    }
}
