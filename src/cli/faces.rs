//! Owns the addresses that are listened on, and what answers on each.
//!
//! Invariants: administration has a thread, connections and bounds of its own if
//! `server.admin_listen` is set; addresses are bound before recovery; until it is done, only probes
//! are answered on them. Only `serve` calls this.

use crate::backup::Backup;
use crate::config::{Config, ServerConfig};
use crate::http::core::Core;
use crate::http::front::Front;
use crate::http::ops::recovering::Recovering;
use crate::http::route::Serves;
use crate::http::server::listener::Listener;
use crate::http::server::tls::Tls;
use crate::http::server::{Face, ServeError};
use crate::journal::Journal;
use std::sync::Arc;

/// Maximum number of connections of `server.admin_listen`.
pub(super) const ADMIN_CONNECTIONS_MAX: usize = 64;

/// The bound addresses.
pub(super) struct Listeners {
    main: Listener,
    admin: Option<Listener>,
}

impl Listeners {
    /// Binds the addresses for all threads.
    pub(super) fn bind(server: &ServerConfig) -> Result<Self, ServeError> {
        let bind = |key, address, count| Listener::bind(key, address, count, server.backlog);
        let main = bind("server.listen", server.listen, server.workers)?;
        let admin = server.admin_listen;
        let admin = admin.map(|address| bind("server.admin_listen", address, 1));
        let admin = admin.transpose()?;
        Ok(Self { main, admin })
    }

    /// Answers probes on each address until recovery is done.
    pub(super) fn probed(
        &self,
        config: &ServerConfig,
        tls: Option<&Arc<Tls>>,
    ) -> Result<Recovering, ServeError> {
        Recovering::start(&self.main, self.admin.as_ref(), tls, config)
    }

    /// The handlers of each address, one for each thread.
    pub(super) fn faces(
        self,
        config: &Config,
        core: &Arc<Core>,
        journal: &Arc<Journal>,
        connections_max: usize,
    ) -> (Face<Front>, Option<Face<Front>>) {
        let Self { main, admin } = self;
        let serves = match admin {
            None => Serves::All,
            Some(_) => Serves::AllButAdmin,
        };
        let workers = config.server.workers;
        let mut handlers = Vec::with_capacity(workers);
        for place in 0..workers {
            let gate = journal.gate();
            handlers.push(Front::new(core, place, serves, gate));
        }
        let half = |connections: usize| connections.div_ceil(2);
        let main = Face {
            name: "http",
            listener: main,
            connections_max,
            per_peer_max: match config.server.connections_per_peer_max {
                0 => half(connections_max),
                most => most,
            },
            handlers,
        };
        let admin = admin.map(|listener| {
            let gate = journal.gate();
            Face {
                name: "http-admin",
                listener,
                connections_max: ADMIN_CONNECTIONS_MAX,
                per_peer_max: half(ADMIN_CONNECTIONS_MAX),
                handlers: vec![Front::new(core, workers, Serves::Admin, gate)],
            }
        });
        (main, admin)
    }
}

/// What the core shows and does not own.
pub(super) struct Surroundings {
    pub(super) backup: Option<Arc<Backup>>,
    pub(super) tls: Option<Arc<Tls>>,
    /// On all addresses.
    pub(super) connections_max: usize,
}

impl Surroundings {
    /// With at most `connections_max` connections on the main address.
    pub(super) fn of(
        listeners: &Listeners,
        tls: Option<&Arc<Tls>>,
        backup: Option<&Arc<Backup>>,
        connections_max: usize,
    ) -> Self {
        let admin = listeners.admin.as_ref();
        Self {
            backup: backup.cloned(),
            tls: tls.cloned(),
            connections_max: connections_max + admin.map_or(0, |_| ADMIN_CONNECTIONS_MAX),
        }
    }
}
