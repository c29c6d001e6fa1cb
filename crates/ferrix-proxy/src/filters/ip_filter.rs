//! Filters of addresses at work.

use std::net::IpAddr;

use ferrix_table::filters::ip_filter::IpFilter;

use crate::failure::Failure;

/// Refuses a client that may not pass.
pub(crate) fn check(filter: &IpFilter, client: IpAddr) -> Result<(), Failure> {
    match filter.passes(client) {
        true => Ok(()),
        false => Err(Failure::AddressRefused),
    }
}
