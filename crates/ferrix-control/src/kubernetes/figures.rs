//! What the control plane counts of its dealings with the API server, for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What is counted since the start, but for what is said to be so now.
#[derive(Debug, Default)]
pub struct Figures {
    leads: AtomicBool,
    written: AtomicU64,
    failed: AtomicU64,
    others: AtomicU64,
    definition_outdated: AtomicBool,
    snapshot_bytes: AtomicU64,
}

impl Figures {
    /// Whether this replica is the one that writes statuses now.
    pub fn leads(&self) -> bool {
        self.leads.load(Relaxed)
    }

    /// Statuses that were written.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Statuses that could not be written, attempt by attempt.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Objects that another installation of the same class has written the status of, now; they are
    /// left to it. Known to the replica that leads.
    pub fn others(&self) -> u64 {
        self.others.load(Relaxed)
    }

    /// Whether the API server's definition of a kind is one of a release before, and has no place for
    /// all of a status. Known to the replica that leads.
    pub fn is_definition_outdated(&self) -> bool {
        self.definition_outdated.load(Relaxed)
    }

    /// The size of the snapshot; 0: there is none.
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes.load(Relaxed)
    }

    pub(super) fn set_leads(&self, leads: bool) {
        self.leads.store(leads, Relaxed);
    }

    pub(super) fn add_written(&self) {
        self.written.fetch_add(1, Relaxed);
    }

    pub(super) fn add_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn set_others(&self, others: usize) {
        self.others.store(others as u64, Relaxed);
    }

    pub(super) fn set_definition_outdated(&self, outdated: bool) {
        self.definition_outdated.store(outdated, Relaxed);
    }

    pub(super) fn set_snapshot_bytes(&self, bytes: u64) {
        self.snapshot_bytes.store(bytes, Relaxed);
    }
}
