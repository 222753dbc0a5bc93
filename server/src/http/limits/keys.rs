//! API keys, their names and their limits.
//!
//! Keys are compared by their digests in constant time, so that the time of a comparison tells nothing about a key, not
//! even its length. Keys are never shown or logged; their names are.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::rate_limit::TokenBucket;

/// The most bytes of a key's name.
const MAX_NAME: usize = 64;
/// The options that may follow a key.
const OPTIONS: [&str; 3] = ["tokens-per-minute=", "share=", "cache="];
/// The largest `share` of a key.
const MAX_SHARE: u32 = 1000;

/// The keys of the API. Without any, no request needs one.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<Arc<ApiKey>>);

/// One key.
pub(crate) struct ApiKey {
    digest: [u8; 32],
    /// The name in logs and metrics.
    pub(crate) name: Option<String>,
    /// The key's weight against other keys that wait for the sessions.
    pub(crate) share: u32,
    /// The limit of its tokens per minute.
    pub(crate) rate_limit: Option<TokenBucket>,
    /// Whether no other key shares its cached vectors.
    pub(crate) own_cache: bool,
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl ApiKeys {
    /// Creates keys without names. Blanks and line breaks around a key are not part of it, because a variable that is filled from a
    /// file often ends with a line break.
    ///
    /// # Errors
    /// A key is empty or has characters that a header cannot carry. The message does not show the key.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut found = Self::default();
        for (place, key) in keys.into_iter().enumerate() {
            found.add(ApiKey::new(
                key.trim(),
                &format!("API key number {}", place + 1),
            )?)?;
        }
        Ok(found)
    }

    /// Adds the keys of a file. A line is `KEY` or `NAME:KEY`, then any of `tokens-per-minute=N`, `share=N` and
    /// `cache=own` after spaces. Empty lines and lines that begin with `#` are skipped. Returns the number of keys.
    ///
    /// # Errors
    /// A line has another form. The message has the number of the line.
    pub fn add_lines(&mut self, text: &str) -> Result<usize, String> {
        let mut count = 0;
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (place, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("line {}", place + 1);
            let key = ApiKey::read(line, &place)?;
            self.add(key)
                .map_err(|reason| format!("{place}: {reason}"))?;
            count += 1;
        }
        Ok(count)
    }

    fn add(&mut self, key: ApiKey) -> Result<(), String> {
        if let Some(name) = &key.name
            && self.0.iter().any(|known| known.name.as_ref() == Some(name))
        {
            return Err(format!("two keys are named `{name}`"));
        }
        let mut same = self.0.iter().filter(|known| known.digest == key.digest);
        if same.any(|known| !(known.is_plain() && key.is_plain())) {
            return Err("the key is given twice, and once with a name or limits".to_owned());
        }
        self.0.push(Arc::new(key));
        Ok(())
    }

    /// Whether requests need a key.
    #[must_use]
    pub fn are_required(&self) -> bool {
        !self.0.is_empty()
    }

    /// Finds a key.
    pub(crate) fn find(&self, key: &str) -> Option<&Arc<ApiKey>> {
        let given = digest(key);
        // The loop never ends early, so that its time does not tell which key matched.
        let mut found = None;
        for known in &self.0 {
            let same: Choice = known.digest.ct_eq(&given);
            if same.into() {
                found = Some(known);
            }
        }
        found
    }
}

impl ApiKey {
    fn new(key: &str, place: &str) -> Result<Self, String> {
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!(
                "{place}: the key is empty, or has spaces or characters beyond ASCII, which a header cannot carry"
            ));
        }
        Ok(Self {
            digest: digest(key),
            name: None,
            share: 1,
            rate_limit: None,
            own_cache: false,
        })
    }

    fn read(line: &str, place: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let (name, key) = match first.split_once(':') {
            Some(("", _)) => return Err(format!("{place}: the name before `:` is empty")),
            Some((name, key)) if is_name(name) => (Some(name), key),
            _ => (None, first),
        };
        if OPTIONS.iter().any(|option| key.starts_with(option)) {
            return Err(format!("{place}: there is no key before its options"));
        }
        let mut found = Self::new(key, place)?;
        found.name = name.map(str::to_owned);
        for word in words {
            let (option, value) = word.split_once('=').unwrap_or((word, ""));
            let number = || value.parse::<u32>().ok().filter(|n| *n > 0);
            match (option, number()) {
                ("tokens-per-minute", Some(tokens)) => {
                    found.rate_limit = Some(TokenBucket::new(tokens));
                }
                ("share", Some(share)) if share <= MAX_SHARE => found.share = share,
                ("cache", _) if value == "own" => found.own_cache = true,
                // The word may be a part of a key, so the message does not show it.
                _ => {
                    return Err(format!(
                        "{place}: after the key only `tokens-per-minute=N`, `share=N` (1 to {MAX_SHARE}) and `cache=own` \
                         may follow"
                    ));
                }
            }
        }
        Ok(found)
    }

    /// Whether the key has neither a name nor options.
    fn is_plain(&self) -> bool {
        self.name.is_none() && self.share == 1 && self.rate_limit.is_none() && !self.own_cache
    }

    /// The id by which the engine recognises the key's requests.
    pub(crate) fn flow(&self) -> u64 {
        let first = self.digest.first_chunk::<8>();
        first.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The scope that separates the key's cached vectors from others, if it has its own cache.
    pub(crate) fn cache_scope(&self) -> Option<String> {
        self.own_cache.then(|| format!("key {:016x}", self.flow()))
    }
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain)
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_completely_and_are_not_shown() {
        let keys = ApiKeys::new(["sk-one", "sk-two"]).unwrap();
        assert!(keys.find("sk-one").is_some() && keys.find("sk-two").is_some());
        for wrong in ["", "sk-on", "sk-one ", "SK-ONE", "sk-onesk-two"] {
            assert!(keys.find(wrong).is_none(), "{wrong}");
        }
        assert_eq!(format!("{keys:?}"), "2 keys");
        assert!(!ApiKeys::default().are_required());
        let error = ApiKeys::new(["sk-one", "geheim ß"]).err().unwrap();
        assert!(
            error.contains("number 2") && !error.contains("geheim"),
            "{error}"
        );
        assert!(ApiKeys::new([""]).is_err() && ApiKeys::new([" \n"]).is_err());
        assert!(ApiKeys::new(["sk-\none"]).is_err());
        let keys = ApiKeys::new(["sk-one\r\n", " sk-two\n"]).unwrap();
        assert!(keys.find("sk-one").is_some() && keys.find("sk-two").is_some());
    }

    #[test]
    fn a_file_gives_keys_names_and_limits() {
        let mut keys = ApiKeys::default();
        let text = "\u{feff}# tenants\n\nsearch:sk-1 share=3 tokens-per-minute=1000\nsk-2\nbatch:sk:3 cache=own\n";
        assert_eq!(keys.add_lines(text), Ok(3));
        let search = keys.find("sk-1").unwrap();
        assert_eq!((search.name.as_deref(), search.share), (Some("search"), 3));
        assert!(search.rate_limit.is_some() && search.cache_scope().is_none());
        assert_eq!(keys.find("sk-2").unwrap().name, None);
        let batch = keys.find("sk:3").unwrap();
        assert_eq!(batch.name.as_deref(), Some("batch"));
        assert!(batch.cache_scope().is_some());
        assert_ne!(batch.flow(), search.flow());
    }

    #[test]
    fn an_invalid_line_is_reported_by_number_and_not_shown() {
        for wrong in [
            "a:sk-secret share=0",
            "a:sk-secret share=9999",
            "a:sk-secret cache=none",
            "sk-secret tokens-per-minute=many",
            "sk-secret extra",
            "a:",
            ":sk-secret",
            "share=2",
            "a:share=2",
        ] {
            let error = ApiKeys::default().add_lines(&format!("\n{wrong}")).err();
            let error = error.unwrap();
            assert!(
                error.starts_with("line 2: ") && !error.contains("secret"),
                "{error}"
            );
        }
        let error = ApiKeys::default().add_lines("a:sk-1\na:sk-2");
        assert_eq!(error, Err("line 2: two keys are named `a`".to_owned()));
        let error = ApiKeys::default().add_lines("a:sk-1 share=2\nsk-1");
        assert!(error.is_err_and(|error| error.contains("line 2: the key is given twice")));
        assert_eq!(ApiKeys::default().add_lines("sk-1\nsk-1"), Ok(2));
    }
}
