//! Texts in messages and reports.

/// A text's first characters, as many as are `shown`, and an ellipsis where there are more.
#[must_use]
pub fn shortened(text: &str, shown: usize) -> String {
    match text.char_indices().nth(shown) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn characters_are_counted_and_not_cut() {
        assert_eq!(shortened("心脏骤停", 4), "心脏骤停");
        assert_eq!(shortened("心脏骤停", 3), "心脏骤…");
    }
}
