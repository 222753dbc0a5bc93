//! Pages of listings, without the keys that the library cannot represent.
//!
//! The library parses all keys of a page, and one that it does not take makes the whole page an error. It also leaves out slashes at the
//! beginning and the end of a key, which makes another key of it.

use object_store::path::Path as Key;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::Deserialize;

/// Longer keys fit in no request. The services' own limit is 1,024 bytes or characters.
const MOST_BYTES: usize = 4096;

/// Keys of a page that no request can have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) Vec<String>);

/// What has a key, in the listings of S3, Google and Azure.
#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "Key", alias = "Name", alias = "Prefix")]
    key: String,
}

/// Whether the library keeps a key as it is.
pub(super) fn is_readable(key: &str) -> bool {
    (1..=MOST_BYTES).contains(&key.len())
        && Key::parse(key).is_ok_and(|parsed| parsed.as_ref() == key)
}

/// A page's XML without the entries that cannot be read, and the keys of these. Folders are left out silently, because nothing reads them:
/// prefixes, and objects whose keys end in a slash. XML that is malformed stays as it is, and the library reports it.
pub(super) fn split(page: &[u8]) -> (Vec<u8>, Unreadable) {
    try_split(page).unwrap_or_else(|| (page.to_vec(), Unreadable::default()))
}

fn try_split(page: &[u8]) -> Option<(Vec<u8>, Unreadable)> {
    let mut reader = Reader::from_reader(page);
    let (mut kept, mut unreadable) = (Vec::with_capacity(page.len()), Unreadable::default());
    loop {
        let start = position(&reader)?;
        let event = reader.read_event().ok()?;
        let is_folder = match &event {
            Event::Eof => return Some((kept, unreadable)),
            Event::Start(tag) => match tag.local_name().as_ref() {
                b"Contents" | b"Blob" => Some(false),
                b"CommonPrefixes" | b"BlobPrefix" => Some(true),
                _ => None,
            },
            _ => None,
        };
        if let (Event::Start(tag), Some(_)) = (&event, is_folder) {
            reader.read_to_end(tag.name()).ok()?;
        }
        let part = page.get(start..position(&reader)?)?;
        let Some(is_folder) = is_folder else {
            kept.extend(part);
            continue;
        };
        let Entry { key } = quick_xml::de::from_reader(part).ok()?;
        let name = key.strip_suffix('/').filter(|_| is_folder);
        if is_readable(name.unwrap_or(&key)) {
            kept.extend(part);
        } else if !is_folder && !key.ends_with('/') {
            unreadable.0.push(key);
        }
    }
}

fn position(reader: &Reader<&[u8]>) -> Option<usize> {
    usize::try_from(reader.buffer_position()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_with_unreadable_keys_are_taken_out_and_the_others_stay() {
        let long = "k".repeat(5_000_000);
        let bad = ["a//b", "/a", "..", "a/../b", "a&#27;[31m", "a&#10;b", &long];
        let good = ["a.csv", "a &amp; b%20.csv", "ü/[1].csv"];
        let contents = |key: &&str| {
            format!(
                "<Contents><Size>1</Size><Key>{key}</Key><Owner><ID>Key</ID></Owner></Contents>"
            )
        };
        let blob = |key: &&str| {
            format!("<Blob><Name>{key}</Name><Metadata><Name>x//y</Name></Metadata></Blob>")
        };
        let page = |keys: &[String], folders: &str| {
            format!(
                "<?xml version=\"1.0\"?><List xmlns=\"s3\"><Prefix>a//</Prefix>{}{folders}</List>",
                keys.concat()
            )
        };
        let folder = |key: &str| format!("<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>");
        let entry: [&dyn Fn(&&str) -> String; 2] = [&contents, &blob];
        for entry in entry {
            let [good, bad]: [Vec<String>; 2] =
                [&good[..], &bad[..]].map(|keys| keys.iter().map(entry).collect());
            let marker = entry(&"terms/");
            let mixed = [good[0].clone(), bad.concat(), marker, good[1..].concat()];
            let (kept, unreadable) =
                split(page(&mixed, &(folder("b/") + &folder("a//"))).as_bytes());
            assert_eq!(String::from_utf8(kept).unwrap(), page(&good, &folder("b/")));
            let expected = ["a//b", "/a", "..", "a/../b", "a\u{1b}[31m", "a\nb", &long];
            assert_eq!(unreadable.0, expected);
        }
        for malformed in [
            "<List><Contents><Key>a//b",
            "<Contents/>",
            "",
            "{}",
            "<a></b>",
        ] {
            let (kept, unreadable) = split(malformed.as_bytes());
            assert_eq!(kept, malformed.as_bytes());
            assert_eq!(unreadable, Unreadable::default());
        }
    }
}
