//! A report as one HTML page that needs nothing else: no other file, no network.

use lexivec_convert::compare::Report;

const PAGE: &str = include_str!("page/report.html");
const STYLE: &str = include_str!("page/report.css");
const SCRIPT: &str = concat!(
    include_str!("page/plots.js"),
    "\n",
    include_str!("page/report.js")
);

/// The page.
///
/// # Errors
/// Never in practice: every part of a report has a form in JSON.
pub fn write(report: &Report) -> serde_json::Result<String> {
    // Within a script element nothing but `<` can end it, and JSON has a spelling of it without.
    let data = serde_json::to_string(report)?.replace('<', "\\u003c");
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = PAGE;
    // One pass, so that what a text of the report says is never taken for a place to fill.
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
