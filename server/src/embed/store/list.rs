//! The objects that URLs name: themselves, those of a folder, or those that match a pattern.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::path::Path as Key;
use object_store::{Error, ObjectMeta, ObjectStoreExt as _};

use super::super::inputs::is_pattern;
use super::super::location::{Location, Service};
use super::client::{self, Store};
use super::listing::Listing;
use super::object::Object;
use super::page::is_readable;
use super::{errors, runtime, settings};

/// The clients of all buckets that inputs name, each opened once.
#[derive(Debug, Default)]
pub(crate) struct Stores(HashMap<(Service, String), Arc<dyn Store>>);

impl Stores {
    /// The objects that a URL names, in the order of their names, as [`expand`](super::super::inputs::expand) describes it for files.
    ///
    /// # Errors
    /// The store cannot be read, a pattern is wrong, or there is no such object.
    pub(in super::super) fn expand(
        &mut self,
        location: &Location,
        any_ending: bool,
    ) -> Result<Vec<Object>, String> {
        let failed = |error: anyhow::Error| format!("{location}: {error:#}");
        let opened = (location.service, location.bucket.clone());
        let store = match self.0.get(&opened) {
            Some(store) => Arc::clone(store),
            None => {
                let location = location.clone();
                let open = async move {
                    let variables = settings::of_environment(location.service);
                    client::open(&location, &variables, client::retries())
                };
                // Opening may panic, too.
                let opening = runtime::spawn(open).map_err(failed)?;
                let store = opening.wait(|| format!("opening {}", opened.1));
                let store = store.map_err(failed)??;
                self.0.insert(opened, Arc::clone(&store));
                store
            }
        };
        let listed = Arc::new(AtomicUsize::new(0));
        let found = find(
            Arc::clone(&store),
            location.clone(),
            any_ending,
            Arc::clone(&listed),
        );
        let found = runtime::spawn(found).map_err(failed)?.wait(|| {
            let listed = listed.load(Ordering::Relaxed);
            format!("waiting for the listing of {location}: {listed} objects so far")
        });
        let object = |meta: ObjectMeta| {
            let location = location.with_key(meta.location.as_ref());
            Object::new(location, meta, Arc::clone(&store) as _)
        };
        Ok(found.map_err(failed)??.into_iter().map(object).collect())
    }
}

async fn find(
    store: Arc<dyn Store>,
    location: Location,
    any_ending: bool,
    listed: Arc<AtomicUsize>,
) -> Result<Vec<ObjectMeta>, String> {
    let said = |error: Error| errors::said(&location, &error);
    let whole = location.key.as_str();
    let name = whole.strip_suffix('/').unwrap_or(whole);
    if !name.is_empty() && !is_readable(name) || whole == "/" {
        return Err(errors::unreadable_key(&location));
    }
    let key = Key::parse(name).map_err(|error| said(error.into()))?;
    let is_pattern = is_pattern(whole);
    if !whole.is_empty() && !whole.ends_with('/') {
        match store.head(&key).await {
            Ok(object) => return Ok(vec![object]),
            Err(Error::NotFound { .. }) => {}
            // Stores refuse requests for keys with some characters of patterns. Listing says what is wrong.
            Err(error) if is_pattern && errors::is_answer(&error.to_string()) => {}
            Err(error) => return Err(said(error)),
        }
    }
    let mut listing = Listing::new(&*store, &location, &listed);
    match is_pattern {
        true => listing.matches().await,
        false => listing.folder(name, any_ending).await,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    fn names(store: &Fake, url: &str, any: bool) -> Result<Vec<String>, String> {
        let (location, client) = store.client(url);
        let found = find(client, location, any, Arc::default());
        let found = runtime::spawn(found).unwrap().wait(String::new).unwrap()?;
        let found = found.into_iter();
        Ok(found.map(|object| object.location.to_string()).collect())
    }

    #[test]
    fn folders_and_patterns_are_their_objects_in_the_order_of_names() {
        let keys = [
            "terms/b.csv",
            "terms/a.txt",
            "terms/c.pdf",
            "terms/.hidden.csv",
            "terms/_SUCCESS",
            "terms/_a.csv",
            "terms/[1].csv",
            "terms/x y%20.csv",
            "terms/sub/a.csv",
            "other/a.csv",
            "top.csv",
        ];
        // Some programs keep an object for a folder.
        let folders = ["terms/", "terms/empty.csv/", "other/"];
        let store = Fake::bucket(&[&keys[..], &folders].concat());
        let names = |url: &str, any| names(&store, url, any);
        let folder = |any| names("s3://b/terms/", any).unwrap();
        let read = [
            "terms/[1].csv",
            "terms/a.txt",
            "terms/b.csv",
            "terms/x y%20.csv",
        ];
        assert_eq!(folder(false), read);
        assert_eq!(names("s3://b/terms", false).unwrap(), read);
        assert!(folder(true).contains(&"terms/c.pdf".to_owned()));
        assert!(!folder(true).contains(&"terms/_SUCCESS".to_owned()));
        for (url, expected) in [
            ("s3://b", &["top.csv"][..]),
            ("s3://b/*.csv", &["top.csv"]),
            (
                "s3://b/terms/?.*",
                &["terms/a.txt", "terms/b.csv", "terms/c.pdf"],
            ),
            ("s3://b/terms/.h*", &["terms/.hidden.csv"]),
            ("s3://b/terms/[1].csv", &["terms/[1].csv"]),
            ("s3://b/terms/x y%20.csv", &["terms/x y%20.csv"]),
            ("s3://b/*/a.csv", &["other/a.csv"]),
            ("s3://b/**/a.csv", &["other/a.csv", "terms/sub/a.csv"]),
            ("s3://b/terms/sub/**", &["terms/sub/a.csv"]),
            ("s3://b/o*/**", &["other/a.csv"]),
            ("s3://b/terms/c.pdf", &["terms/c.pdf"]),
        ] {
            assert_eq!(names(url, false).unwrap(), expected, "{url}");
        }
        let csv = names("s3://b/terms/*.csv", false).unwrap();
        assert!(
            csv.contains(&"terms/_a.csv".to_owned()) && csv.len() == 4,
            "{csv:?}"
        );
        for (url, reason) in [
            ("s3://b/terms/*.tsv", "no object matches"),
            ("s3://b/terms/***", "wildcard"),
            ("s3://b/terms/e*", "no object matches"),
            ("s3://b/missing/", "contains no object that lexivec reads"),
            ("s3://b/missing.csv", "there is no such object"),
            ("s3://b/terms//a.csv", "an empty name"),
            ("s3://b//terms/a.txt", "an empty name"),
            ("s3://b//terms/*", "an empty name"),
        ] {
            let said = names(url, false).unwrap_err();
            assert!(said.starts_with(url) && said.contains(reason), "{said}");
        }
    }

    #[test]
    fn unreadable_keys_are_named_where_they_would_be_read_and_ignored_elsewhere() {
        let keys = [
            "a/1.csv",
            "a/2\n.csv",
            "a//3.csv",
            "a/../4.csv",
            "b/5.csv",
            "b//6.csv",
            "/7.csv",
        ];
        let store = Fake::bucket(&keys);
        for url in ["s3://b/b/", "s3://b/b/*.csv", "s3://b/*/5.csv"] {
            assert_eq!(names(&store, url, false).unwrap(), ["b/5.csv"], "{url}");
        }
        assert_eq!(names(&store, "s3://b/a/1*", false).unwrap(), ["a/1.csv"]);
        for (url, named) in [
            ("s3://b/a/", "s3://b/a/2\\n.csv: "),
            ("s3://b/a/*.csv", "s3://b/a/2\\n.csv: "),
            ("s3://b/b/**/*.csv", "s3://b/b//6.csv: "),
            ("s3://b/**/7.csv", "s3://b//7.csv: "),
        ] {
            let said = names(&store, url, false).unwrap_err();
            assert!(
                said.starts_with(named) && said.contains("rename the object"),
                "{said}"
            );
        }
    }
}
