//! Owns the durations of requests by route and status, as OpenTelemetry's conventions want them
//! (`http.server.request.duration`).
//!
//! Invariants: adding looks nothing up: a route's number and a status's place are indices. A series is
//! allocated with its first request, so a thread has as many as it answered kinds of requests, and no
//! more than routes times statuses. Every label's values are bounded: routes and methods by the table of
//! routes, statuses by [`STATUSES`].
//! Deliberately absent: the routes, which the front end brings.

use super::exposition::FamilySamples;
use super::histogram::{Buckets, empty, nanos};
use crate::trace::TraceContext;
use std::sync::OnceLock;
use std::time::Duration;

/// A method at a route; without one for requests that no route takes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ServedRoute {
    pub method: &'static str,
    pub route: Option<&'static str>,
}

/// A request that was answered.
#[derive(Copy, Clone, Debug)]
pub struct ServedRequest {
    /// The place of its [`ServedRoute`].
    pub route: usize,
    pub status: u16,
    pub took: Duration,
    /// Its span, if that is recorded.
    pub traced: Option<TraceContext>,
}

/// Every status of an answer.
const STATUSES: [u16; 22] = [
    200, 201, 202, 204, 304, 308, 400, 401, 402, 403, 404, 405, 408, 409, 410, 412, 413, 415, 422,
    429, 500, 503,
];

/// The conventions' bounds, and three below them: most requests take less than their least.
const BOUNDS_NS: [u64; 17] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

type Series = Buckets<{ BOUNDS_NS.len() + 1 }>;

/// The requests that one thread answered.
#[derive(Debug)]
pub(super) struct RequestTimes {
    routes: Box<[[OnceLock<Box<Series>>; STATUSES.len()]]>,
}

impl RequestTimes {
    pub(super) fn of_routes(count: usize) -> Self {
        let routes = (0..count).map(|_| std::array::from_fn(|_| OnceLock::new()));
        Self {
            routes: routes.collect(),
        }
    }

    pub(super) fn add(&self, request: ServedRequest) {
        let Some(place) = place_of(request.status) else {
            debug_assert!(false, "{} is no status of the table", request.status);
            return;
        };
        let Some(statuses) = self.routes.get(request.route) else {
            return;
        };
        let series = statuses[place].get_or_init(Box::default);
        let ns = nanos(request.took);
        // Most requests are in the first buckets.
        let bucket = BOUNDS_NS.iter().position(|bound| ns <= *bound);
        series.add(bucket.unwrap_or(BOUNDS_NS.len()), ns, request.traced);
    }

    /// The series that have a request, of all threads.
    pub(super) fn render<'a>(
        threads: &(impl Iterator<Item = &'a Self> + Clone),
        routes: &[ServedRoute],
        out: &mut FamilySamples,
    ) {
        for (number, served) in routes.iter().enumerate() {
            for (place, status) in STATUSES.iter().enumerate() {
                let series = threads.clone();
                let series = series.filter_map(|it| it.routes[number][place].get());
                let mut series = series.peekable();
                if series.peek().is_none() {
                    continue;
                }
                let mut times = empty(BOUNDS_NS.into_iter());
                series.for_each(|it| it.add_to(&mut times));
                let status = status.to_string();
                let method = ("http.request.method", served.method);
                let status = ("http.response.status_code", status.as_str());
                match served.route {
                    Some(route) => out.times(&[method, ("http.route", route), status], times),
                    None => out.times(&[method, status], times),
                }
            }
        }
    }
}

/// The place of a status, by a table that is made when the program is built.
fn place_of(status: u16) -> Option<usize> {
    let place = *PLACES.get(usize::from(status))?;
    (place != NO_PLACE).then_some(usize::from(place))
}

const NO_PLACE: u8 = u8::MAX;

static PLACES: [u8; 600] = {
    let mut places = [NO_PLACE; 600];
    let mut place = 0;
    while place < STATUSES.len() {
        #[allow(clippy::cast_possible_truncation, reason = "there are fewer than 255")]
        {
            places[STATUSES[place] as usize] = place as u8;
        }
        place += 1;
    }
    places
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_place() {
        for (place, status) in STATUSES.iter().enumerate() {
            assert_eq!(place_of(*status), Some(place));
        }
        for status in [0, 99, 418, 599, 600, u16::MAX] {
            assert_eq!(place_of(status), None, "{status}");
        }
    }
}
