//! The report of an analysis: one self-contained HTML page, which needs no other files and no network.
//!
//! The page draws what [`data`] holds as JSON. Terms and names come from users: they are in that JSON only, and the page's script puts
//! them into the document as text nodes.

mod data;
mod packed;

use lexivec_evaluate::SelfContained;

use self::data::Data;
use super::{Analysis, Summary, Terms};

const PAGE: &str = include_str!("page/report.html");
const STYLE: &str = include_str!("page/report.css");
const SCRIPT: &str = concat!(
    include_str!("page/data.js"),
    "\n",
    include_str!("page/map.js"),
    "\n",
    include_str!("page/pointer.js"),
    "\n",
    include_str!("page/panel.js"),
    "\n",
    include_str!("page/sections.js")
);

/// Where an analysis comes from, for readers of the report.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The name of the file of terms.
    pub(crate) file: String,
    /// Settings and their values.
    pub(crate) settings: Vec<(&'static str, String)>,
}

/// What the report shows.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) terms: &'a Terms,
    pub(crate) analysis: &'a Analysis,
    pub(crate) summary: &'a Summary,
    pub(crate) origin: &'a Origin,
}

impl Report<'_> {
    /// The page.
    ///
    /// # Errors
    /// The data cannot be written as JSON.
    pub(crate) fn to_html(&self) -> anyhow::Result<String> {
        Ok(page(&serde_json::to_string(&Data::new(self)?)?))
    }
}

/// The page around its data, which is JSON.
fn page(json: &str) -> String {
    let page = SelfContained {
        page: PAGE,
        style: STYLE,
        script: SCRIPT,
        data_place: "{/*DATA*/}",
    };
    page.with(json)
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn a_term_never_ends_the_script_or_fills_a_place() {
        let hostile = "</script><script>alert(1)</script><!-- \u{2028} /*SCRIPT*/ {/*DATA*/}";
        let json = serde_json::to_string(&[hostile]).unwrap();
        let (page, empty) = (page(&json), page("[]"));
        assert_eq!(page.matches('<').count(), empty.matches('<').count());
        assert_eq!(page.matches("use strict").count(), 1);
        let (_, data) = page.split_once("id=\"data\">").unwrap();
        let (data, _) = data.split_once("</script>").unwrap();
        let read: Vec<String> = serde_json::from_str(data).unwrap();
        assert_eq!(read, [hostile]);
    }

    #[test]
    fn every_place_is_filled() {
        let page = page("[]");
        for place in ["/*STYLE*/", "/*DATA*/", "/*SCRIPT*/"] {
            assert!(!page.contains(place), "{place}");
        }
    }
}
