//! Follows where no replica can listen, by what each tells.

use std::sync::Arc;

use ferrix_table::sockets::Refusals;
use tokio::sync::watch::{Receiver, Sender};

use super::{Identity, leases::Leases, refused, replica};

pub(super) struct Inputs {
    pub(super) identity: Arc<Identity>,
    /// Where the system does not let this replica listen.
    pub(super) refused: Receiver<Refusals>,
    pub(super) leases: Receiver<Arc<Leases>>,
    /// Where it lets none.
    pub(super) by_all: Sender<Refusals>,
}

/// Follows what all replicas tell, until nobody listens.
pub(super) async fn run(inputs: Inputs) {
    let Inputs {
        identity,
        mut refused,
        mut leases,
        by_all,
    } = inputs;
    let own = replica::name(&identity);
    loop {
        let common = {
            let own_refusals = refused.borrow_and_update();
            let leases = leases.borrow_and_update();
            let others = leases.iter().flatten();
            let others = others.filter(|(name, it)| ***name != own && it.is_alive());
            // The Lease of the installation is no replica's.
            let others = others.filter(|(_, it)| it.replica().is_some());
            refused::common(&own_refusals, others.map(|(_, it)| it.refused()))
        };
        by_all.send_if_modified(|told| {
            let differs = *told != common;
            *told = common;
            differs
        });
        tokio::select! {
            Ok(()) = refused.changed() => {}
            Ok(()) = leases.changed() => {}
            () = by_all.closed() => return,
        }
    }
}
