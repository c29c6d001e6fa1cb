//! HTTP/2 from clients and to backends, in every pair with HTTP/1, and what attackers do with it.
//!
//! ```text
//!  pairs         every pair of protocols
//!  grpc          trailers, messages both ways, cancellation, errors
//!  messages      what arrives on the other side, and what is malformed
//!  early_end     one side ends before the other is done
//!  external_auth a service that is asked by gRPC
//!  timeouts      what takes too long
//!  limits        what is too much
//!  floods        frames by the thousand
//!  conformance   h2spec, where it is installed
//! ```

use http::{HeaderMap, Request};

mod conformance;
mod early_end;
mod external_auth;
mod floods;
mod grpc;
mod limits;
mod messages;
mod pairs;
mod timeouts;

fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let parsed = fields
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    parsed.collect()
}

fn with_fields(request: Request<()>, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = request;
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}
