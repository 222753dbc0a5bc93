//! Secrets are masked before anything is printed.

/// The text that replaces a secret.
pub const MASK: &str = "***";

/// A text in which the user and password of a URL are masked.
///
/// ```
/// use lexivec_models::secrets::without_password;
///
/// assert_eq!(without_password("https://user:word@hub/v1"), "https://***@hub/v1");
/// ```
#[must_use]
pub fn without_password(text: &str) -> String {
    let url = text.split_once("://");
    let masked = url.and_then(|(scheme, rest)| {
        let authority = rest.split(['/', '?', '#']).next()?;
        let (_, host) = authority.rsplit_once('@')?;
        Some(format!(
            "{scheme}://{MASK}@{host}{}",
            &rest[authority.len()..]
        ))
    });
    masked.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_masked() {
        for (text, masked) in [
            ("http://u:sekrit@h:4318/v1?a=@", "http://***@h:4318/v1?a=@"),
            ("nano=https://token@h/v1#m", "nano=https://***@h/v1#m"),
            ("http://h/v1/@x", "http://h/v1/@x"),
            ("models/nano", "models/nano"),
        ] {
            assert_eq!(without_password(text), masked);
        }
    }
}
