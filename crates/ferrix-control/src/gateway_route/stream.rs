//! `TLSRoute`, `TCPRoute` and `UDPRoute`: one version by itself.

use ferrix_api::gateway as api;
use ferrix_table::services::Scheme;

use super::Drafting;
use crate::{
    draft::Draft,
    objects::{Kind, Origin},
};

/// Compiles one version of a TLSRoute by itself.
pub(crate) fn tls(route: &api::TlsRoute, origin: Origin) -> Draft {
    let (spec, metadata) = (&route.spec, &route.metadata);
    let mut drafting = Drafting::new(Kind::TlsRoute, metadata, Scheme::Tcp, &spec.hostnames);
    for (position, rule) in spec.rules.iter().enumerate() {
        drafting.stream_rule(rule, position);
    }
    let defaults = spec.use_default_gateways.as_ref();
    drafting.finish(&spec.parent_refs, defaults, origin)
}

/// Compiles one version of a TCPRoute by itself.
pub(crate) fn tcp(route: &api::TcpRoute, origin: Origin) -> Draft {
    let (spec, metadata) = (&route.spec, &route.metadata);
    let mut drafting = Drafting::new(Kind::TcpRoute, metadata, Scheme::Tcp, &[]);
    for (position, rule) in spec.rules.iter().enumerate() {
        drafting.stream_rule(rule, position);
    }
    let defaults = spec.use_default_gateways.as_ref();
    drafting.finish(&spec.parent_refs, defaults, origin)
}

/// Compiles one version of a UDPRoute by itself.
pub(crate) fn udp(route: &api::UdpRoute, origin: Origin) -> Draft {
    let (spec, metadata) = (&route.spec, &route.metadata);
    let mut drafting = Drafting::new(Kind::UdpRoute, metadata, Scheme::Udp, &[]);
    for (position, rule) in spec.rules.iter().enumerate() {
        drafting.stream_rule(rule, position);
    }
    let defaults = spec.use_default_gateways.as_ref();
    drafting.finish(&spec.parent_refs, defaults, origin)
}
