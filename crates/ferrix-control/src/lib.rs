//! From watched objects to the routing table, and to a word on each object.
//!
//! ```text
//!  files (a folder) ──► decode ──► Change ─┐
//!                                          ├─► compiler ─► world ─► translate ─┬─► Table ──► publish
//!  the API server ────► decode ──► Change ─┤    (last good versions)  (pure)   └─► Report ─► status, check
//!  DNS, issuers ──────► follower ► Change ─┘
//! ```
//!
//! `translate` does not know where objects come from, and knows no kind. What is particular to a kind
//! is in the file of that kind: how a document is read (`decode`), and what of it is kept. For a kind
//! that makes rules that is a `draft`, which is the same for all of them, and the file has the form
//! of its `status` as well. `kinds` finds the file of a kind.
//!
//! ```text
//!  one object      backendpolicy, configmap, endpointslice, gateway, gateway_route, gateway_service, ingress,
//!                  ingressclass, ingressroute, namespace, referencegrant, secret, service
//!                  draft, outcome       what an object that makes rules asks for, and what it got
//!                  filters              what a rule asks for beyond forwarding
//!                  verdict              what is told of an object of the Gateway API
//!  one name        external_name        the addresses that `lookup` has found
//!  one URL         issuer_keys          the keys that `key_fetch` has found
//!  all objects     world               the newest versions, and `last_good` ones of those that are bad
//!  several         listeners            of Gateways and ListenerSets, and where they are served
//!                  attachment           routes to those
//!                  ownership            hosts that several namespaces claim
//!                  resolve              a draft, with what it names in the world; which Service has which
//!                                       BackendPolicy
//!                  backend              a Service, with its addresses
//!                  backendtlspolicy     and how these are known over TLS
//!                  backendtrafficpolicy and what the Gateway API has for what a BackendPolicy says
//!                  certificates         names that several claim
//!                  conflict             rules that others come before
//!                  logins               users that no rule takes back to
//!                  translate            all of these
//! ```
//!
//! Imports go up this list, never down: what is made of one object does not know the world.

mod attachment;
mod authorities;
mod backend;
mod backendpolicy;
mod backendtlspolicy;
mod backendtrafficpolicy;
mod certificates;
mod client_authorities;
pub mod compiler;
mod configmap;
mod conflict;
mod credentials;
pub mod decode;
mod document;
mod draft;
mod endpointslice;
mod entry_points;
pub mod external_name;
mod fallback;
mod field;
pub mod files;
mod filter;
mod filters;
mod follower;
mod foreign;
mod gateway;
mod gateway_addresses;
mod gateway_objects;
mod gateway_route;
pub mod gateway_service;
mod gateway_status;
mod guard;
mod host_policy;
mod ingress;
mod ingressclass;
mod ingressroute;
pub mod issuer_keys;
mod issuer_policy;
mod jitter;
pub mod key_fetch;
mod kinds;
pub mod kubernetes;
mod label_selector;
mod last_good;
mod listeners;
mod logins;
pub mod lookup;
mod names;
mod namespace;
mod never;
pub mod objects;
mod outcome;
mod own_kind;
mod own_status;
mod ownership;
pub mod rare;
mod read;
mod referencegrant;
pub mod report;
mod resolve;
pub mod secret;
mod seniority;
mod service;
pub mod settings;
mod status;
mod supply;
pub mod translate;
mod url_path;
pub mod verdict;
mod version;
pub mod world;
pub mod yaml;
mod zones;

pub use compiler::{Compiler, Failures};
pub use files::run_files;
pub use key_fetch::{KeyFetcher, KeyFetches};
pub use kubernetes::run_kubernetes;
pub use lookup::Lookups;
pub use report::Report;
pub use settings::Settings;
pub use translate::translate;
