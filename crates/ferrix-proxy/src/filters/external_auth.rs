//! External authorisation (Gateway API, `HTTPExternalAuthFilter`): what the service says lets a request pass,
//! and whatever else happens does not.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ferrix_http1::{RequestHead, ResponseHead};
use ferrix_table::{
    Table,
    filters::external_auth::{AuthProtocol, ExternalAuth},
    ids::ServiceIndex,
    services::Service,
};

use crate::{
    Engine,
    address::Address,
    failure::Failure,
    subrequest::{self, Reply, Subrequest},
};

mod cache;
mod check;
mod grpc;
mod http;
mod sign_in;

/// As much of the body of an answer is read: a refusal's is passed on, and one by gRPC is refused if it is
/// longer.
const ANSWER: usize = 64 * 1024;

/// An authorisation may take this long.
const LIMIT: Duration = Duration::from_secs(10);

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) client: Address,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
}

/// What an authorisation service says.
pub(crate) enum Verdict {
    /// The request may pass.
    Passed,
    /// It may not, and this is the answer.
    Refused(ResponseHead, Bytes),
}

/// Asks whether a request may pass, and gives it what the service adds to it. `body` is what the service
/// gets of the request's body.
///
/// # Errors
/// [`Failure::Unauthorised`]: there is no verdict.
pub(crate) async fn ask(
    auth: &ExternalAuth,
    engine: &Engine,
    table: &Table,
    asker: Asker,
    head: &mut RequestHead,
    body: Bytes,
) -> Result<Verdict, Failure> {
    let known = auth.verdicts.as_deref();
    let known = known.map(|verdicts| (verdicts, cache::key(verdicts, &auth.protocol, head)));
    let kept = known.and_then(|(verdicts, key)| cache::get(verdicts, &key));
    let verdict = match kept {
        Some(reply) => judge(auth, &reply, head)?,
        None => {
            let reply = Arc::new(reply(auth, engine, table, asker, head, body).await?);
            let verdict = judge(auth, &reply, head)?;
            if let (Some((verdicts, key)), Verdict::Passed) = (known, &verdict) {
                cache::keep(verdicts, key, reply);
            }
            verdict
        }
    };
    Ok(match &auth.sign_in {
        Some(url) => sign_in::instead(url, verdict, asker.secure, head),
        None => verdict,
    })
}

/// What the service answers.
async fn reply(
    auth: &ExternalAuth,
    engine: &Engine,
    table: &Table,
    asker: Asker,
    head: &RequestHead,
    body: Bytes,
) -> Result<Reply, Failure> {
    let (index, service) = service(auth, table)?;
    let (question, body) = match &auth.protocol {
        AuthProtocol::Http {
            path_prefix,
            request_headers,
            ..
        } => {
            let question = http::question(head, path_prefix, request_headers, body.len());
            (question, body)
        }
        AuthProtocol::Grpc { request_headers } => {
            let message = grpc::question(head, asker, request_headers, &body);
            (grpc::call(&service.id, message.len()), message)
        }
    };
    let request = Subrequest {
        service: &service,
        index,
        head: &question,
        body,
        wanted: ANSWER,
        whole: false,
    };
    let exchange = subrequest::exchange(engine, &request);
    let answered = match tokio::time::timeout(LIMIT, exchange).await {
        Ok(answered) => answered.map_err(|failure| failure.to_string()),
        Err(_) => Err("it took too long".to_owned()),
    };
    answered.map_err(Failure::Unauthorised)
}

/// What an answer means. A request that passes gets what the answer has for it.
fn judge(auth: &ExternalAuth, reply: &Reply, head: &mut RequestHead) -> Result<Verdict, Failure> {
    match &auth.protocol {
        AuthProtocol::Http {
            response_headers, ..
        } => Ok(http::verdict(reply, response_headers, head)),
        AuthProtocol::Grpc { .. } => grpc::verdict(reply, head).map_err(Failure::Unauthorised),
    }
}

fn service(auth: &ExternalAuth, table: &Table) -> Result<(ServiceIndex, Arc<Service>), Failure> {
    let index = auth.service.as_ref();
    let index = *index.map_err(|reason| Failure::Unauthorised(reason.to_string()))?;
    let service = table.service(index);
    let service = service.ok_or_else(|| Failure::Unauthorised("it is gone".to_owned()))?;
    Ok((index, Arc::clone(service)))
}
