//! The gRPC Health Checking Protocol: <https://grpc.io/docs/guides/health-checking/>.

use bytes::Bytes;
use ferrix_http1::RequestHead;

use super::CheckError;
use crate::{grpc_call, subrequest::Reply};

const METHOD: &str = "/grpc.health.v1.Health/Check";

/// As much of an answer is read; one has a few bytes.
pub(super) const LONGEST: usize = 1024;

/// `grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: i32 = 1;

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The call that asks about a service; empty: about the server. `milliseconds`: how long it may take.
pub(super) fn call(service: &str, host: &str, milliseconds: u128) -> (RequestHead, Bytes) {
    let message = grpc_call::framed(&HealthCheckRequest {
        service: service.to_owned(),
    });
    let timeout = format!("{milliseconds}m");
    let head = grpc_call::head(METHOD, host, &timeout, message.len());
    (head, message)
}

/// Whether what was asked about serves.
pub(super) fn judge(reply: &Reply) -> Result<(), CheckError> {
    let answer = grpc_call::answer::<HealthCheckResponse>(reply);
    match answer.map_err(CheckError::Call)?.status {
        SERVING => Ok(()),
        _ => Err(CheckError::NotServing),
    }
}
