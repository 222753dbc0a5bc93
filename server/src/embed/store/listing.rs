//! Listings of stores, page by page. Each page is checked when it comes: a store may list without end, list a key twice, or list keys that the URL
//! does not name.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use glob::Pattern;
use object_store::list::PaginatedListOptions;
use object_store::{ListResult, ObjectMeta};

use super::super::file_format::READ_ENDINGS;
use super::super::inputs::{is_read, match_options};
use super::super::location::Location;
use super::client::Store;
use super::errors;
use super::http::IsListing;
use super::page::Unreadable;

/// What a URL may name and a store may list.
#[derive(Debug, Clone, Copy)]
struct Limits {
    objects: usize,
    /// Of their keys and ETags.
    bytes: usize,
    /// Most pages have 1,000 keys.
    pages: usize,
}

const LIMITS: Limits = Limits {
    objects: 1_000_000,
    bytes: 128 << 20,
    pages: 10_000,
};

/// A listing for a URL.
pub(super) struct Listing<'a> {
    store: &'a dyn Store,
    location: &'a Location,
    /// The number of objects that the store has listed.
    listed: &'a AtomicUsize,
    /// Whether it has listed neither an object nor a folder.
    is_empty: bool,
    limits: Limits,
}

impl<'a> Listing<'a> {
    pub(super) fn new(
        store: &'a dyn Store,
        location: &'a Location,
        listed: &'a AtomicUsize,
    ) -> Self {
        Self {
            store,
            location,
            listed,
            is_empty: true,
            limits: LIMITS,
        }
    }

    /// The objects of a folder that are read.
    pub(super) async fn folder(
        &mut self,
        folder: &str,
        any_ending: bool,
    ) -> Result<Vec<ObjectMeta>, String> {
        let location = self.location;
        let wanted = |key: &str| is_read(Path::new(key), any_ending);
        let found = self.objects(folder, false, &wanted).await?;
        if self.is_empty && !location.key.is_empty() && !location.key.ends_with('/') {
            return Err(format!("{location}: there is no such object"));
        }
        if found.is_empty() {
            return Err(format!(
                "{location}: the folder contains no object that lexivec reads ({READ_ENDINGS}); subfolders are not read"
            ));
        }
        Ok(found)
    }

    /// The objects whose keys match the URL's pattern, in which `*` and `?` match no slash, and `**` does.
    pub(super) async fn matches(&mut self) -> Result<Vec<ObjectMeta>, String> {
        let location = self.location;
        let pattern =
            Pattern::new(&location.key).map_err(|error| format!("{location}: {error}"))?;
        let options = match_options(Path::new(&location.key));
        let first = location.key.find(['*', '?', '[']).unwrap_or_default();
        let (literal, rest) = location.key.split_at(first);
        let folder = literal.rfind('/').map_or("", |end| &literal[..end]);
        let wanted = |key: &str| pattern.matches_with(key, options);
        let recursive = rest.contains('/') || rest.contains("**");
        let found = self.objects(folder, recursive, &wanted).await?;
        if found.is_empty() {
            return Err(format!("{location}: no object matches"));
        }
        Ok(found)
    }

    /// The wanted objects of a folder, or of all folders in it as well, in the order of their keys.
    async fn objects(
        &mut self,
        folder: &str,
        recursive: bool,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Vec<ObjectMeta>, String> {
        let (location, limits) = (self.location, self.limits);
        let prefix = match folder {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        let is_inside = |key: &str| {
            let rest = key.strip_prefix(&prefix);
            rest.is_some_and(|rest| recursive || !rest.contains('/'))
        };
        let (mut found, mut bytes, mut token) = (Vec::new(), 0, None);
        for _ in 0..limits.pages {
            let (page, next) = self.page(&prefix, recursive, token.clone()).await?;
            let unreadable = page.extensions.get::<Unreadable>();
            let mut unreadable = unreadable.into_iter().flat_map(|keys| &keys.0);
            if let Some(key) = unreadable.find(|key| is_inside(key) && wanted(key)) {
                return Err(errors::unreadable_key(&location.with_key(key)));
            }
            self.listed.fetch_add(page.objects.len(), Ordering::Relaxed);
            self.is_empty &= page.objects.is_empty() && page.common_prefixes.is_empty();
            for object in page.objects {
                let key = object.location.as_ref();
                let tag = object.e_tag.as_deref().unwrap_or_default();
                if !is_inside(key) {
                    let problem = format!("lists `{key}`, which the URL does not name");
                    return Err(errors::broken(location, &problem));
                }
                if !wanted(key) {
                    continue;
                }
                if tag.contains(|c: char| !c.is_ascii() || c.is_control()) {
                    let problem = format!("has a malformed ETag for `{key}`");
                    return Err(errors::broken(location, &problem));
                }
                bytes += key.len() + tag.len();
                found.push(object);
            }
            if found.len() > limits.objects || bytes > limits.bytes {
                return Err(format!(
                    "{location}: more objects than a URL can name ({}, with {} MiB of keys): name a folder or a narrower pattern",
                    limits.objects,
                    limits.bytes >> 20
                ));
            }
            if next.is_none() {
                return self.sorted(found);
            }
            if next == token {
                return Err(errors::broken(
                    location,
                    "lists the same page again and again",
                ));
            }
            token = next;
        }
        Err(format!(
            "{location}: the listing has not ended after {} pages: name a folder or a pattern that begins with more of the key",
            limits.pages
        ))
    }

    fn sorted(&self, mut found: Vec<ObjectMeta>) -> Result<Vec<ObjectMeta>, String> {
        found.sort_by(|one, other| one.location.as_ref().cmp(other.location.as_ref()));
        let mut pairs = found.windows(2);
        match pairs.find(|pair| pair[0].location == pair[1].location) {
            Some(pair) => {
                let problem = format!("lists `{}` twice", pair[0].location);
                Err(errors::broken(self.location, &problem))
            }
            None => Ok(found),
        }
    }

    /// A page, and the token of the next one.
    async fn page(
        &self,
        prefix: &str,
        recursive: bool,
        token: Option<String>,
    ) -> Result<(ListResult, Option<String>), String> {
        let mut options = PaginatedListOptions {
            delimiter: (!recursive).then(|| "/".into()),
            page_token: token,
            ..PaginatedListOptions::default()
        };
        options.extensions.insert(IsListing);
        let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
        let page = self.store.list_paginated(prefix, options).await;
        let page = page.map_err(|error| errors::said(self.location, &error))?;
        let token = page.page_token.filter(|token| !token.is_empty());
        Ok((page.result, token))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Answer, Fake, entry, page};
    use super::super::runtime;
    use super::*;

    fn folder(store: &Fake) -> Result<Vec<ObjectMeta>, String> {
        let (location, client) = store.client("s3://b/a/");
        let list = async move {
            let listed = AtomicUsize::new(0);
            let mut listing = Listing::new(&*client, &location, &listed);
            listing.limits = Limits {
                objects: 1000,
                bytes: 4000,
                pages: 100,
            };
            listing.folder("a", false).await
        };
        runtime::spawn(list).unwrap().wait(String::new).unwrap()
    }

    #[test]
    fn listings_that_do_not_end_are_errors() {
        let endless = |keys: usize, name: &'static str, token: fn(usize) -> String| {
            let pages = AtomicUsize::new(0);
            Fake::serve(move |_| {
                let number = pages.fetch_add(1, Ordering::Relaxed);
                let keys = (0..keys).map(|key| entry(&format!("a/{name}{number}-{key}.csv"), 1));
                Answer::body(page(&keys.collect::<String>(), Some(&token(number))))
            })
        };
        let number = |number: usize| number.to_string();
        let long = "a-name-of-some-length-which-many-keys-have";
        for (store, reason) in [
            (
                endless(1, "", |_| "t".to_owned()),
                "the same page again and again",
            ),
            (endless(500, "", number), "more objects than a URL can name"),
            (
                endless(90, long, number),
                "more objects than a URL can name",
            ),
            (endless(0, "", number), "has not ended after 100 pages"),
        ] {
            let said = folder(&store).unwrap_err();
            assert!(
                said.starts_with("s3://b/a/: ") && said.contains(reason),
                "{said}"
            );
        }
    }

    #[test]
    fn listings_that_do_not_answer_the_question_are_errors() {
        for (keys, tag, reason) in [
            (&["a/1.csv", "a/1.csv"][..], "e", "lists `a/1.csv` twice"),
            (
                &["b/1.csv"],
                "e",
                "lists `b/1.csv`, which the URL does not name",
            ),
            (
                &["a/b/1.csv"],
                "e",
                "lists `a/b/1.csv`, which the URL does not name",
            ),
            (
                &["a/1.csv"],
                "e&#10;X-Evil: 1",
                "a malformed ETag for `a/1.csv`",
            ),
        ] {
            let entries: String = keys.iter().map(|key| entry(key, 1)).collect();
            let entries = page(&entries.replace("<ETag>e", &format!("<ETag>{tag}")), None);
            let store = Fake::serve(move |_| Answer::body(entries.clone()));
            let said = folder(&store).unwrap_err();
            assert!(
                said.starts_with("s3://b/a/: the store") && said.contains(reason),
                "{said}"
            );
        }
    }
}
