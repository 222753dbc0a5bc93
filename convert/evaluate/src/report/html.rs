//! A report as one self-contained HTML page, which needs no other files and no network.

use super::ComparisonReport;

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
        // Only `<` can end a script element, and JSON can escape it.
        let data = serde_json::to_string(self)?.replace('<', "\\u003c");
        let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
        let mut rest = PAGE;
        // Fills all places in one pass, so that a text of the report is never mistaken for a place.
        for (place, content) in [
            ("/*STYLE*/", STYLE),
            ("{/*REPORT*/}", &data),
            ("/*SCRIPT*/", SCRIPT),
        ] {
            if let Some((before, after)) = rest.split_once(place) {
                page.push_str(before);
                page.push_str(content);
                rest = after;
            }
        }
        page.push_str(rest);
        Ok(page)
    }
}
