//! Where connections come in: the listening sockets, known by name, and by an index that stays theirs.

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::{Arc, Weak},
};

use ipnet::IpNet;

use crate::ids::EntryPointIndex;

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// As routes name it. Unique.
    pub name: Arc<str>,
    /// Whether TLS ends there.
    pub secure: bool,
    /// What it listens on. Port 0: the system chooses one.
    pub address: SocketAddr,
    /// Connections from these networks begin with a PROXY protocol header.
    pub proxy_protocol: Box<[IpNet]>,
}

impl EntryPoint {
    /// One on every interface, at a port that the system chooses, for clients that speak no PROXY
    /// protocol.
    pub fn new(name: &str, secure: bool) -> Self {
        Self {
            name: name.into(),
            secure,
            address: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
            proxy_protocol: Box::default(),
        }
    }
}

/// All entry points, by index.
///
/// A connection keeps the index of the entry point that it came in by, and reads a newer table for each
/// request. So an entry point keeps its index for as long as it exists, and the index is nobody else's
/// before the last connection of it is gone.
#[derive(Clone, Debug, Default)]
pub struct EntryPoints(Vec<Slot>);

/// An index, in use or not.
#[derive(Clone, Debug)]
enum Slot {
    Open(Arc<EntryPoint>),
    /// Connections may keep it.
    Closed(Weak<EntryPoint>),
}

impl Slot {
    fn open(&self) -> Option<&Arc<EntryPoint>> {
        match self {
            Self::Open(entry_point) => Some(entry_point),
            Self::Closed(_) => None,
        }
    }

    fn is_free(&self) -> bool {
        matches!(self, Self::Closed(entry_point) if entry_point.strong_count() == 0)
    }
}

impl EntryPoints {
    /// The entry point of an index.
    pub fn get(&self, index: EntryPointIndex) -> Option<&Arc<EntryPoint>> {
        self.0.get(usize::from(index))?.open()
    }

    /// The index of an entry point by its name.
    pub fn find(&self, name: &str) -> Option<EntryPointIndex> {
        let mut all = self.iter();
        all.find(|(_, it)| *it.name == *name)
            .map(|(index, _)| index)
    }

    /// All that there are, with their indices, which ascend.
    pub fn iter(&self) -> impl Iterator<Item = (EntryPointIndex, &Arc<EntryPoint>)> {
        let slots = (0..=EntryPointIndex::MAX).zip(&self.0);
        slots.filter_map(|(index, slot)| Some((index, slot.open()?)))
    }

    /// Those of `wanted` from now on. Whoever has been there before, by name, has its index still; those
    /// that are new get what is free. A name that comes twice is the first one's, and beyond
    /// [`EntryPointIndex::MAX`] there are none.
    #[must_use]
    pub fn followed_by(&self, wanted: &[EntryPoint]) -> Self {
        let mut slots: Vec<_> = self.0.iter().map(Slot::closed).collect();
        let mut fresh = Vec::new();
        for entry_point in wanted {
            match self.find(&entry_point.name).map(usize::from) {
                Some(index) if slots[index].open().is_none() => {
                    let same = self.0[index].open().filter(|it| ***it == *entry_point);
                    let kept = same.cloned().unwrap_or_else(|| entry_point.clone().into());
                    slots[index] = Slot::Open(kept);
                }
                Some(_) => {}
                None => fresh.push(entry_point),
            }
        }
        let mut next = Self(slots);
        for entry_point in fresh {
            if next.find(&entry_point.name).is_none() {
                next.insert(entry_point.clone().into());
            }
        }
        next
    }

    fn insert(&mut self, entry_point: Arc<EntryPoint>) {
        let slot = Slot::Open(entry_point);
        match self.0.iter().position(Slot::is_free) {
            Some(free) => self.0[free] = slot,
            None if self.0.len() <= usize::from(EntryPointIndex::MAX) => self.0.push(slot),
            None => {}
        }
    }
}

impl Slot {
    /// What becomes of it where nobody wants it any more.
    fn closed(&self) -> Self {
        Self::Closed(match self {
            Self::Open(entry_point) => Arc::downgrade(entry_point),
            Self::Closed(entry_point) => Weak::clone(entry_point),
        })
    }
}

/// In this order, from index 0.
impl From<&[EntryPoint]> for EntryPoints {
    fn from(all: &[EntryPoint]) -> Self {
        Self::default().followed_by(all)
    }
}

#[cfg(test)]
mod tests;
