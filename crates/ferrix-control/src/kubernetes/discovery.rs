//! Which kinds of the Gateway API the API server serves: in many clusters none of them, in others some.
//!
//! A kind that is served comes to be watched, and is from then on, whatever becomes of its definition: the
//! watch says so. Those that are not served cost one request now and then.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use ferrix_api::gateway;
use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResourceList};
use kube::Client;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::debug;

use super::health::{Health, LONGEST_PAUSE};
use crate::{
    jitter::jittered,
    objects::{self, Kind},
};

/// How soon a kind is taken up that comes to be served.
const PAUSE: Duration = Duration::from_secs(15);

/// The kinds that are watched only where they are served. ReferenceGrants are looked for by their watch, as
/// routes of other groups need them as well.
pub(super) const KINDS: [Kind; 10] = [
    Kind::BackendTlsPolicy,
    Kind::GrpcRoute,
    Kind::Gateway,
    Kind::GatewayClass,
    Kind::HttpRoute,
    Kind::ListenerSet,
    Kind::TcpRoute,
    Kind::TlsRoute,
    Kind::UdpRoute,
    Kind::XBackendTrafficPolicy,
];

/// Their groups. Where there is none of the first, there is none of the others.
const GROUPS: [&str; 2] = [gateway::GROUP, gateway::EXPERIMENTAL_GROUP];

/// Every version that a kind of them may have, the newest first.
const VERSIONS: [&str; 5] = ["v1", "v1beta1", "v1alpha3", "v1alpha2", "v1alpha1"];

/// Kinds, each with the newest version of it that is understood.
pub(super) type Served = BTreeMap<Kind, &'static str>;

/// Tells which kinds are served, at first even if there are none, and then which have come; until all are
/// known, or nobody listens.
pub(super) async fn run<M: From<Served>>(client: Client, sink: mpsc::Sender<M>) {
    let mut discovery = Discovery::default();
    let mut health = Health::default();
    while !discovery.unknown.is_empty() {
        let pause = match discovery.look(&client).await {
            Ok(Some(served)) => {
                if sink.send(served.into()).await.is_err() {
                    return;
                }
                PAUSE
            }
            Ok(None) => PAUSE,
            // The watches say that the API server does not answer.
            Err(error) => {
                debug!(%error, "the API server does not say which kinds it serves");
                match discovery.begun {
                    true => PAUSE,
                    false => health.failed(LONGEST_PAUSE, Instant::now()).pause,
                }
            }
        };
        tokio::time::sleep(jittered(pause)).await;
    }
}

/// What is known of the kinds.
#[derive(Debug)]
pub(super) struct Discovery {
    /// Those that were not served so far.
    unknown: BTreeSet<Kind>,
    /// Whether the API server has ever said which are.
    begun: bool,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            unknown: KINDS.into(),
            begun: false,
        }
    }
}

impl Discovery {
    /// Which kinds are served that were not before; `None`: none, which is worth telling the first time.
    pub(super) async fn look(&mut self, client: &Client) -> Result<Option<Served>, kube::Error> {
        let mut served = served(client).await?;
        served.retain(|kind, _| self.unknown.remove(kind));
        let first = !std::mem::replace(&mut self.begun, true);
        Ok((first || !served.is_empty()).then_some(served))
    }
}

/// Every kind of the Gateway API that is served.
pub(super) async fn served(client: &Client) -> Result<Served, kube::Error> {
    let mut served = Served::new();
    for group in GROUPS {
        match served_of(client, group).await {
            Ok(Some(of_group)) => served.extend(of_group),
            Ok(None) => break,
            // Whoever may not ask finds out by trying.
            Err(kube::Error::Api(refusal)) if refusal.code == 403 => {
                return Ok(KINDS.map(|kind| (kind, objects::versions(kind)[0])).into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(served)
}

/// Those of a group; `None`: there is no such group.
async fn served_of(client: &Client, group: &'static str) -> Result<Option<Served>, kube::Error> {
    let path = format!("/apis/{group}");
    let Some(versions) = get::<APIGroup>(client, &path).await? else {
        return Ok(None);
    };
    let kinds = KINDS
        .into_iter()
        .filter(|kind| objects::group(*kind) == group);
    let kinds: Vec<Kind> = kinds.collect();
    let mut served = Served::new();
    for version in VERSIONS {
        let is_served = (versions.versions.iter()).any(|it| it.version == version);
        if !is_served || served.len() == kinds.len() {
            continue;
        }
        let list: Option<APIResourceList> = get(client, &format!("{path}/{version}")).await?;
        let resources = list.map_or_else(Vec::new, |list| list.resources);
        for kind in &kinds {
            let is_understood = objects::versions(*kind).contains(&version);
            if is_understood && resources.iter().any(|it| it.kind == kind.as_str()) {
                served.entry(*kind).or_insert(version);
            }
        }
    }
    Ok(Some(served))
}

/// What there is at a path; `None`: nothing.
pub(super) async fn get<T: DeserializeOwned>(
    client: &Client,
    path: &str,
) -> Result<Option<T>, kube::Error> {
    let request = Request::get(path).body(Vec::new());
    let request = request.map_err(kube::Error::HttpError)?;
    match client.request(request).await {
        Ok(answer) => Ok(Some(answer)),
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_that_is_understood_is_looked_for() {
        for kind in KINDS {
            for version in objects::versions(kind) {
                assert!(VERSIONS.contains(version), "{kind} {version}");
            }
        }
    }
}
