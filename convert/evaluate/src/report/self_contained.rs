//! A page that needs no other files and no network.

/// A template of a page, and what goes into it.
#[derive(Debug, Clone, Copy)]
pub struct SelfContained<'a> {
    /// HTML with the places `/*STYLE*/`, [`data_place`](Self::data_place) and `/*SCRIPT*/`, in this order.
    pub page: &'a str,
    /// CSS.
    pub style: &'a str,
    /// JavaScript.
    pub script: &'a str,
    /// The place of the data within a script element of JSON.
    pub data_place: &'a str,
}

impl SelfContained<'_> {
    /// The page with `json` as its data.
    #[must_use]
    pub fn with(&self, json: &str) -> String {
        // Only `<` can end a script element, and JSON can escape it.
        let json = json.replace('<', "\\u003c");
        let size = self.page.len() + self.style.len() + self.script.len() + json.len();
        let mut page = String::with_capacity(size);
        let mut rest = self.page;
        // Fills all places in one pass, so that a text of the data is never mistaken for a place.
        for (place, content) in [
            ("/*STYLE*/", self.style),
            (self.data_place, &json),
            ("/*SCRIPT*/", self.script),
        ] {
            if let Some((before, after)) = rest.split_once(place) {
                page.push_str(before);
                page.push_str(content);
                rest = after;
            }
        }
        page.push_str(rest);
        page
    }
}
