//! Owns finding the routes of a path, with the ids in it.
//!
//! Invariants: an id is never empty, and has no slash unless it is percent-encoded; a path that is
//! not UTF-8 after decoding has no route. Plain paths are compared first: buying is one of them.

use super::{ROWS, Route, Who};
use crate::http::wire::percent::decoded;
use hyper::Method;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A path as written in the table; names in braces are ids.
#[derive(Copy, Clone, Debug)]
pub(super) struct Template {
    text: &'static str,
    /// Bytes before the first id; all bytes if there is none.
    plain: usize,
}

impl Template {
    pub(super) const fn new(text: &'static str) -> Self {
        let bytes = text.as_bytes();
        let mut plain = 0;
        while plain < bytes.len() && bytes[plain] != b'{' {
            plain += 1;
        }
        Self { text, plain }
    }

    pub(super) const fn text(self) -> &'static str {
        self.text
    }

    const fn has_ids(self) -> bool {
        self.plain < self.text.len()
    }

    /// The ids in `path`, with a slash between them, if it matches.
    fn ids(self, path: &str) -> Option<Cow<'_, str>> {
        let (before, with_ids) = self.text.split_at(self.plain);
        let mut parts = path.strip_prefix(before)?.split('/');
        let mut ids: Option<Cow<'_, str>> = None;
        for wanted in with_ids.split('/') {
            let part = parts.next()?;
            if !wanted.starts_with('{') {
                (part == wanted).then_some(())?;
                continue;
            }
            (!part.is_empty()).then_some(())?;
            let id = decoded(part)?;
            ids = Some(match ids {
                None => id,
                Some(earlier) => Cow::Owned(format!("{earlier}/{id}")),
            });
        }
        parts.next().is_none().then_some(())?;
        ids
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch<'p> {
    first: Route,
    /// The id in the path; two ids have a slash between them.
    pub param: Cow<'p, str>,
}

/// The routes at `path`.
pub fn resolve(path: &str) -> Option<RouteMatch<'_>> {
    let rows = || Route::ALL.iter().copied().zip(ROWS);
    let mut plain = rows().filter(|(_, row)| !row.path.has_ids());
    if let Some((first, _)) = plain.find(|(_, row)| row.path.text() == path) {
        let param = Cow::Borrowed("");
        return Some(RouteMatch { first, param });
    }
    rows()
        .filter(|(_, row)| row.path.has_ids())
        .find_map(|(first, row)| {
            let param = row.path.ids(path)?;
            Some(RouteMatch { first, param })
        })
}

impl RouteMatch<'_> {
    /// The path as in `OpenAPI`.
    pub fn template(&self) -> &'static str {
        self.first.template()
    }

    /// The kind of client of this path.
    pub fn who(&self) -> Who {
        self.first.who()
    }

    /// The route for `method`.
    pub fn route(&self, method: &Method) -> Option<Route> {
        self.routes().find(|route| route.row().verb.takes(method))
    }

    /// The supported methods, for `Allow`.
    pub fn allow(&self) -> String {
        let mut methods: BTreeSet<_> = self.routes().map(Route::method).collect();
        if methods.contains("GET") {
            methods.insert("HEAD");
        }
        methods.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// The routes of a path are adjacent in the table.
    fn routes(&self) -> impl Iterator<Item = Route> {
        let template = self.template();
        Route::ALL[self.first as usize..]
            .iter()
            .copied()
            .take_while(move |route| route.template() == template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_resolves_to_its_routes_and_unknown_paths_to_none() {
        for route in Route::ALL.iter().copied() {
            let template = route.template();
            let is_id = |part: &&str| part.starts_with('{');
            let ids = template.split('/').filter(is_id).count();
            let parts = template.split('/');
            let parts = parts.map(|part| if is_id(&part) { "a%3Ab" } else { part });
            let path = parts.collect::<Vec<_>>().join("/");
            let found = resolve(&path).unwrap();
            assert_eq!(found.param, vec!["a:b"; ids].join("/"), "{path}");
            // The routes of a path must be adjacent, otherwise this one is not found.
            let method = Method::from_bytes(route.method().as_bytes()).unwrap();
            assert_eq!(found.route(&method), Some(route), "{path}");
            assert_eq!(found.who(), route.who(), "{path}");
        }
        for path in [
            "/",
            "",
            "/limited",
            "/limited/holds/",
            "/limited/holds/a/b",
            "/admin/purchases//refunds",
            "/admin/purchases/a/refunds/",
            "/admin/purchases/a/refunds/1/2",
            "/admin/purchases/a/b/void",
            "/admin/purchases/a/b",
            "/limited/rewards//spend",
            "/limited/rewards/a/b/spend",
            "/admin/products/%zz",
            "/limited/holds/%ff",
        ] {
            assert_eq!(resolve(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_taken_is_said_in_order() {
        let allow = |path: &str| resolve(path).unwrap().allow();
        assert_eq!(allow("/limited/buy"), "POST");
        assert_eq!(allow("/limited/holds/h"), "DELETE, GET, HEAD");
        assert_eq!(allow("/admin/products/p"), "GET, HEAD, PATCH, PUT");
        let found = resolve("/livez").unwrap();
        assert_eq!(found.route(&Method::HEAD), Some(Route::Live));
        assert_eq!(found.route(&Method::POST), None);
    }
}
