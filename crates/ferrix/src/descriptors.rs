//! File descriptors: how many this process may have, and which part of them connections may take.
//!
//! The soft limit of most systems is 1,024, for programs that wait by `select`. A few clients that
//! open many streams would take all of it, and then neither other clients nor probes are served:
//! so the limit is raised to what the system allows, and what remains is shared out.

use ferrix_proxy::settings::Settings;

/// Kept for the admin page (256 connections at once), the API server, logs, listening sockets and
/// runtimes.
const RESERVE: usize = 512;

/// How many files there may be, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// What the system allows.
    pub(crate) limit: usize,
    /// Kept free of connections.
    pub(crate) reserve: usize,
    /// For connections of clients.
    pub(crate) clients: usize,
    /// For connections to backends.
    pub(crate) backends: usize,
    /// Of these, for one endpoint: one that hangs leaves the rest to the others.
    pub(crate) endpoint: usize,
}

impl Shares {
    /// Of this many files: a quarter, but no more than [`RESERVE`], is kept, and a connection to a
    /// backend may stand behind every one of a client.
    pub(crate) fn of(limit: usize) -> Self {
        let reserve = RESERVE.min(limit / 4);
        let clients = (limit - reserve) / 2;
        let backends = limit - reserve - clients;
        Self {
            limit,
            reserve,
            clients,
            backends,
            endpoint: backends / 2,
        }
    }

    /// Lowers the limits of connections to what there is. A limit that was lifted gets one.
    pub(crate) fn lower(&self, settings: &mut Settings) {
        let limits = [
            (&mut settings.limits.connections, self.clients),
            (&mut settings.upstream.connections, self.backends),
            (
                &mut settings.upstream.connections_per_endpoint,
                self.endpoint,
            ),
        ];
        for (limit, share) in limits {
            *limit = match *limit {
                0 => share,
                limit => limit.min(share),
            };
        }
    }
}

/// Raises the soft limit to the hard one, and returns it. `None`: there is none.
#[cfg(unix)]
pub(crate) fn raise() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    // Some systems allow less than the hard limit; then the soft one stays.
    if before.current != before.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, soft = before.current, hard = before.maximum, "the limit of file descriptors stays");
    }
    let limit = getrlimit(Resource::Nofile).current?;
    Some(usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
pub(crate) fn raise() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_leave_a_reserve() {
        for (limit, reserve, clients, backends, endpoint) in [
            (0, 0, 0, 0, 0),
            (64, 16, 24, 24, 12),
            (1024, 256, 384, 384, 192),
            (4096, 512, 1792, 1792, 896),
            (1_048_576, 512, 524_032, 524_032, 262_016),
        ] {
            let shares = Shares::of(limit);
            let expected = Shares {
                limit,
                reserve,
                clients,
                backends,
                endpoint,
            };
            assert_eq!(shares, expected);
            assert_eq!(reserve + clients + backends, limit);
        }
    }

    #[test]
    fn limits_are_only_lowered() {
        let shares = Shares::of(1024);
        for (set, lowered) in [(0, 384), (100, 100), (384, 384), (50_000, 384)] {
            let mut settings = Settings::default();
            settings.limits.connections = set;
            shares.lower(&mut settings);
            assert_eq!(settings.limits.connections, lowered, "{set}");
        }
        let mut settings = Settings::default();
        shares.lower(&mut settings);
        assert_eq!(settings.limits.connections_per_client(), 192);
        assert_eq!(settings.limits.requests_per_client(), 192);
        assert_eq!(settings.upstream.connections, 384);
        assert_eq!(settings.upstream.connections_per_endpoint, 192);
    }

    #[cfg(unix)]
    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        use rustix::process::{Resource, getrlimit};

        let limit = raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(limit.map(|it| it as u64), now.current);
    }
}
