//! The table itself.

use std::sync::Arc;

use crate::{
    certificates::Certificates,
    rule_set::RuleSet,
    services::{Service, Services},
};
pub use crate::{
    entry_points::{EntryPoint, EntryPoints},
    ids::{EntryPointIndex, ServiceIndex, SocketIndex},
};

/// One generation of the configuration.
///
/// The parts are shared between generations: a change of endpoints replaces one service and keeps
/// the rules and the certificates as they are.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Counts publications, from 1. 0 until [`crate::Publisher::publish`] sets it.
    pub generation: u64,
    /// Where connections come in.
    pub entry_points: Arc<EntryPoints>,
    /// All rules in their total order, with the index that finds them.
    pub rules: Arc<RuleSet>,
    /// The services that rules forward to.
    pub services: Arc<Services>,
    /// What each secure entry point presents by SNI.
    pub certificates: Arc<Certificates>,
}

impl Table {
    /// The same table but for one service, where only endpoints have changed.
    pub fn with_service(&self, index: ServiceIndex, service: Service) -> Table {
        let mut services = Arc::clone(&self.services);
        Arc::make_mut(&mut services).put(index, Some(Arc::new(service)));
        Table {
            services,
            ..self.clone()
        }
    }

    /// The service of this index. `None` only for an index of another table.
    pub fn service(&self, index: ServiceIndex) -> Option<&Arc<Service>> {
        self.services.get(index as usize)
    }
}
