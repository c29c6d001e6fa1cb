//! Ferrix on a real Kubernetes. `cluster/test` brings one up and runs these tests in its network,
//! one after the other in the order of their names; they are ignored otherwise.
//!
//! ```text
//!  a_routes      a user's first steps, grants, broken objects beside good ones
//!  b_endpoints   endpoints that are bad, and a policy that finds out
//!  b_policies    the other members of a policy, each once
//!  b_traffic     rollouts, certificates, and endpoints that die, under load
//!  c_status      who writes statuses, how many, and what propagation takes
//!  d_chart       the Helm chart, beside the plain manifests
//!  e_last_good   objects that are edited badly, while replicas come and go
//!  e_upgrade     from the definition of the release before to this one's
//!  f_filters     each filter, limits that replicas count together, a cache of many keys
//!  g_gateways    a Service, and so an address, for each Gateway
//!  y_audit       what all of these asked of the API server
//!  z_outages     the API server goes and comes back
//! ```
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

mod a_routes;
mod b_endpoints;
mod b_policies;
mod b_traffic;
mod c_status;
mod d_chart;
mod e_last_good;
mod e_upgrade;
mod f_filters;
mod g_gateways;
mod y_audit;
mod z_outages;

/// A change reaches traffic within this time, on a machine that does other work too. What it takes
/// on a quiet one is measured elsewhere.
const SOON: Duration = Duration::from_secs(5);

/// A route of one host to one service.
fn route(name: &str, host: &str, service: &str, more: &str) -> String {
    format!(
        "---\napiVersion: ferrix.com/v1\nkind: IngressRoute\nmetadata: {{name: {name}}}\nspec:\n  \
         route: {{host: {host}, rules: [{{service: {service}}}]}}\n{more}"
    )
}

/// Lets Ferrix read the Secrets of a namespace, in the words of the documents.
fn allow_secrets(namespace: &str) {
    ferrix_e2e::cluster::kubectl(&[
        "-n",
        namespace,
        "create",
        "rolebinding",
        "ferrix-secrets",
        "--clusterrole=ferrix-secrets",
        "--serviceaccount=ferrix:ferrix",
    ]);
}
