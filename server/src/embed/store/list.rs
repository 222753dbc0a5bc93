//! The objects that URLs name: themselves, those of a folder, or those that match a pattern.

use std::collections::HashMap;
use std::future::ready;
use std::path::Path;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use glob::Pattern;
use object_store::path::Path as Key;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt as _};

use super::super::file_format::READ_ENDINGS;
use super::super::inputs::{is_pattern, is_read, match_options};
use super::super::location::{Location, Service};
use super::object::Object;
use super::{client, errors, runtime};

/// The clients of all buckets that inputs name, each opened once.
#[derive(Debug, Default)]
pub(crate) struct Stores(HashMap<(Service, String), Arc<dyn ObjectStore>>);

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
        let opened = (location.service, location.bucket.clone());
        let store = match self.0.get(&opened) {
            Some(store) => Arc::clone(store),
            None => {
                let store = client::open(location);
                let store = store.map_err(|error| errors::said(location, &error))?;
                self.0.insert(opened, Arc::clone(&store));
                store
            }
        };
        let found = find(Arc::clone(&store), location.clone(), any_ending);
        let found = runtime::spawn(found).map_err(|error| error.to_string())?;
        let found = found
            .recv()
            .map_err(|_| format!("{location}: the listing ended early"))??;
        let object = |meta: ObjectMeta| {
            let location = location.with_key(meta.location.as_ref());
            Object::new(location, meta, Arc::clone(&store))
        };
        Ok(found.into_iter().map(object).collect())
    }
}

async fn find(
    store: Arc<dyn ObjectStore>,
    location: Location,
    any_ending: bool,
) -> Result<Vec<ObjectMeta>, String> {
    let said = |error: Error| errors::said(&location, &error);
    let key = Key::parse(&location.key).map_err(|error| said(error.into()))?;
    // The library leaves out a slash at the beginning, which makes another key of it.
    if location.key.starts_with('/') {
        return Err(errors::unreadable_key(&location));
    }
    let is_pattern = is_pattern(&location.key);
    if !location.key.is_empty() && !location.key.ends_with('/') {
        match store.head(&key).await {
            Ok(object) => return Ok(vec![object]),
            Err(Error::NotFound { .. }) => {}
            // Listing for a pattern says what is wrong.
            Err(_) if is_pattern => {}
            Err(error) => return Err(said(error)),
        }
    }
    let mut found = match is_pattern {
        true => matches(&*store, &location).await?,
        false => {
            let prefix = Some(&key).filter(|_| !location.key.is_empty());
            let listed = store.list_with_delimiter(prefix).await.map_err(said)?;
            // Some programs keep an empty object of the folder's own name.
            let mut within = listed.objects;
            within.retain(|object| object.location != key);
            let is_folder = !within.is_empty() || !listed.common_prefixes.is_empty();
            if !is_folder && !location.key.is_empty() && !location.key.ends_with('/') {
                return Err(format!("{location}: there is no such object"));
            }
            within.retain(|object| is_read(Path::new(object.location.as_ref()), any_ending));
            if within.is_empty() {
                return Err(format!(
                    "{location}: the folder contains no object that lexivec reads ({READ_ENDINGS}); subfolders are not read"
                ));
            }
            within
        }
    };
    found.sort_by(|one, other| one.location.as_ref().cmp(other.location.as_ref()));
    Ok(found)
}

/// The objects whose keys match a pattern, in which a wildcard matches no slash.
async fn matches(store: &dyn ObjectStore, location: &Location) -> Result<Vec<ObjectMeta>, String> {
    let said = |error: Error| errors::said(location, &error);
    let pattern = Pattern::new(&location.key).map_err(|error| format!("{location}: {error}"))?;
    let options = match_options(Path::new(&location.key));
    let first = location.key.find(['*', '?', '[']).unwrap_or_default();
    let (literal, rest) = location.key.split_at(first);
    let folder = literal.rfind('/').map_or("", |end| &literal[..end]);
    let prefix = Key::parse(folder).map_err(|error| said(error.into()))?;
    let prefix = Some(&prefix).filter(|_| !folder.is_empty());
    let matching = |object: &ObjectMeta| pattern.matches_with(object.location.as_ref(), options);
    let found: Vec<ObjectMeta> = match rest.contains('/') {
        // Only what matches is kept of a listing that may be that of a whole bucket.
        true => {
            let listed = store.list(prefix);
            let listed = listed.try_filter(|object| ready(matching(object)));
            listed.try_collect().await.map_err(said)?
        }
        false => {
            let listed = store.list_with_delimiter(prefix).await;
            let listed = listed.map_err(said)?.objects.into_iter();
            listed.filter(matching).collect()
        }
    };
    if found.is_empty() {
        return Err(format!("{location}: no object matches"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use object_store::PutPayload;
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn folders_and_patterns_are_their_objects_in_the_order_of_names() {
        let store = Arc::new(InMemory::new());
        let stored = Arc::clone(&store);
        let filled = runtime::spawn(async move {
            for key in [
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
            ] {
                let key = Key::parse(key).unwrap();
                let _ = stored.put(&key, PutPayload::from_static(b"x")).await;
            }
        });
        filled.unwrap().recv().unwrap();
        let names = |url: &str, any: bool| -> Result<Vec<String>, String> {
            let location = Location::of(Path::new(url)).unwrap().unwrap();
            let found = find(Arc::clone(&store) as _, location, any);
            let found = runtime::spawn(found).unwrap().recv().unwrap()?;
            let found = found.into_iter();
            Ok(found.map(|object| object.location.to_string()).collect())
        };
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
}
