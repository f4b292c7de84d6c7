//! Owns a page of a list: some of its entries, and whether more come after them.

/// Some of a list, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub entries: Vec<T>,
    /// Whether more come after them.
    pub more: More,
}

/// Whether a list goes on after a page of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum More {
    Yes,
    /// That was the end.
    No,
}

impl<T> Page<T> {
    /// The first `limit` of `all` whose names come after `after`, in the order of their names.
    pub fn after(
        all: impl Iterator<Item = T>,
        after: &str,
        limit: usize,
        name: impl for<'a> Fn(&'a T) -> &'a str,
    ) -> Self {
        let mut entries: Vec<T> = all.filter(|it| name(it) > after).collect();
        entries.sort_unstable_by(|one, other| name(one).cmp(name(other)));
        let more = if entries.len() > limit {
            More::Yes
        } else {
            More::No
        };
        entries.truncate(limit);
        Self { entries, more }
    }

    /// The same with each entry made into something else.
    pub fn map<U>(self, each: impl Fn(T) -> U) -> Page<U> {
        Page {
            entries: self.entries.into_iter().map(each).collect(),
            more: self.more,
        }
    }
}
