//! Previews of texts for messages and reports.

/// The first `length` characters of a text, and an ellipsis if there are more.
///
/// ```
/// assert_eq!(lexivec_convert::text_preview("cardiac arrest", 7), "cardiac…");
/// ```
#[must_use]
pub fn text_preview(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::text_preview;

    #[test]
    fn whole_characters_are_counted() {
        assert_eq!(text_preview("心脏骤停", 4), "心脏骤停");
        assert_eq!(text_preview("心脏骤停", 3), "心脏骤…");
    }
}
