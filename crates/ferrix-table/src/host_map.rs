//! One value for each pattern of hosts: the most exact that takes a host decides.

use std::{collections::HashMap, sync::Arc};

use crate::rules::{HostPattern, domains, parent_domain};

/// Values by patterns of hosts.
#[derive(Clone, Debug)]
pub struct HostMap<T> {
    /// By canonical host.
    pub exact: HashMap<Arc<str>, T>,
    /// `example.com` for `*.example.com`.
    pub wildcard: HashMap<Arc<str>, T>,
    /// The same where the wildcard stands for one label or more.
    pub below: HashMap<Arc<str>, T>,
    /// For all other hosts, and where there is none.
    pub any: Option<T>,
}

impl<T> HostMap<T> {
    /// The value of the most exact pattern that takes this canonical host; `None`: there is no host.
    pub fn find(&self, host: Option<&str>) -> Option<&T> {
        let exact = host.and_then(|host| self.exact.get(host));
        let wildcard = || self.wildcard.get(parent_domain(host?)?);
        let below = || match self.below.is_empty() {
            true => None,
            false => domains(host?).find_map(|domain| self.below.get(domain)),
        };
        (exact.or_else(wildcard))
            .or_else(below)
            .or(self.any.as_ref())
    }

    /// The values of all patterns that take this canonical host, the most exact first; `None`: there is no host.
    pub(crate) fn all(&self, host: Option<&str>) -> impl Iterator<Item = &T> {
        let of_host = host.into_iter().flat_map(|host| {
            let wildcard = parent_domain(host).and_then(|domain| self.wildcard.get(domain));
            let below = domains(host).filter_map(|domain| self.below.get(domain));
            self.exact
                .get(host)
                .into_iter()
                .chain(wildcard)
                .chain(below)
        });
        of_host.chain(&self.any)
    }

    /// Gives a pattern a value. Returns the one that it had.
    pub fn insert(&mut self, host: &HostPattern, value: T) -> Option<T> {
        match host {
            HostPattern::Exact(name) => self.exact.insert(Arc::clone(name), value),
            HostPattern::Wildcard(suffix) => self.wildcard.insert(Arc::clone(suffix), value),
            HostPattern::Below(suffix) => self.below.insert(Arc::clone(suffix), value),
            HostPattern::Any => self.any.replace(value),
        }
    }

    /// The value of exactly this pattern, which has one from now on.
    pub fn or_default(&mut self, host: &HostPattern) -> &mut T
    where
        T: Default,
    {
        match host {
            HostPattern::Exact(name) => self.exact.entry(Arc::clone(name)).or_default(),
            HostPattern::Wildcard(suffix) => self.wildcard.entry(Arc::clone(suffix)).or_default(),
            HostPattern::Below(suffix) => self.below.entry(Arc::clone(suffix)).or_default(),
            HostPattern::Any => self.any.get_or_insert_default(),
        }
    }

    /// The value of exactly this pattern.
    pub fn get(&self, host: &HostPattern) -> Option<&T> {
        match host {
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Wildcard(suffix) => self.wildcard.get(suffix),
            HostPattern::Below(suffix) => self.below.get(suffix),
            HostPattern::Any => self.any.as_ref(),
        }
    }

    /// Forgets values.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for values in [&mut self.exact, &mut self.wildcard, &mut self.below] {
            values.retain(|_, value| keep(value));
        }
        self.any.take_if(|value| !keep(value));
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        let all = [&self.exact, &self.wildcard, &self.below];
        all.into_iter().flat_map(HashMap::values).chain(&self.any)
    }

    /// The value for any host, where there is no other.
    pub fn only_any(&self) -> Option<&T> {
        let others = self.exact.len() + self.wildcard.len() + self.below.len();
        self.any.as_ref().filter(|_| others == 0)
    }
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            below: HashMap::new(),
            any: None,
        }
    }
}
