//! What users of Ferrix write: the kinds of its own API, one file each.
//!
//! ```text
//!  ingressroute    ferrix.com/v1 IngressRoute              the CRD, and the schema that files are held to
//!  filter          ferrix.com/v1 Filter                    filters under a name, for rules of any kind
//!  backendpolicy   ferrix.com/v1 BackendPolicy             where requests of Services go
//!  referencegrant  gateway.networking.k8s.io ReferenceGrant  the parts that Ferrix reads
//!  gateway         the other kinds of gateway.networking.k8s.io
//!  pattern         the forms that texts of a route have
//!  schema          what the API server checks, for manifests that never meet one
//!  crd             the CRDs as text
//! ```
//!
//! Only data, serde and schema live here. What an object means is for `ferrix-control` to say.

pub mod backendpolicy;
pub mod crd;
pub mod filter;
pub mod gateway;
pub mod ingressroute;
pub mod pattern;
pub mod referencegrant;
pub mod schema;

pub use backendpolicy::BackendPolicy;
pub use crd::crd_yaml;
pub use filter::Filter;
pub use ingressroute::IngressRoute;
pub use referencegrant::ReferenceGrant;
