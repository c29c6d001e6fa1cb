//! Sockets that ask clients for certificates.

use std::sync::Arc;

use ferrix_e2e::{
    Backend, Client, Gateway, Routes,
    certificates::{Authority, Certified},
    gateway::tls,
    within,
};
use ferrix_table::{
    certificates::ClientCertificates,
    entry_points::{EntryPoint, Protocol::Https},
    services::Protocol,
};
use rustls::{AlertDescription, ClientConfig};
use tokio::io::AsyncReadExt;

use crate::{FIRST, free_port, get, listener, local, with};

/// Who presents what, and whether that is good.
struct Clients {
    gateway: Authority,
    known: Authority,
    good: Certified,
    foreign: Certified,
}

impl Clients {
    fn new() -> Self {
        let known = Authority::new();
        Self {
            gateway: Authority::new(),
            good: known.certify("good", &["client.test"]),
            foreign: Certified::self_signed("foreign", &["client.test"], |_| ()),
            known,
        }
    }

    fn config(&self, certified: Option<&Certified>) -> ClientConfig {
        match certified {
            Some(certified) => self.gateway.client_with(certified),
            None => self.gateway.client(&[]),
        }
    }

    fn asking(&self, port: u16, authorities: &[&Authority], required: bool) -> EntryPoint {
        let authorities = authorities.iter().map(|it| it.certificate());
        EntryPoint {
            client_certificates: Some(Arc::new(ClientCertificates {
                authorities: authorities.collect(),
                required,
            })),
            ..listener("asks", Https, port, "*")
        }
    }
}

#[tokio::test]
async fn clients_are_served_by_their_certificates() {
    let clients = Clients::new();
    let certified = clients.gateway.certify("gateway", &["a.test"]);
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::new());
    let port = free_port();
    let (good, foreign) = (Some(&clients.good), Some(&clients.foreign));
    let known = &[&clients.known][..];
    let missing = AlertDescription::CertificateRequired;
    let unknown = AlertDescription::UnknownCA;
    let cases = [
        (known, true, good, None),
        (known, true, foreign, Some(unknown)),
        (known, true, None, Some(missing)),
        (known, false, good, None),
        (known, false, foreign, None),
        (known, false, None, None),
        (&[], true, good, Some(unknown)),
        (&[], true, None, Some(missing)),
        (&[], false, None, None),
    ];
    let mut served = 0;
    for (number, (authorities, required, certificate, refusal)) in cases.into_iter().enumerate() {
        let routes = Routes::new()
            .service("it", Protocol::Http1, &[backend.address()])
            .on(&[FIRST])
            .rule("*", "", &[("it", 1)])
            .certificate(&["*"], &certified);
        let asking = clients.asking(port, authorities, required);
        gateway.publish_on(with(&[asking]), routes);
        let config = clients.config(certificate);
        let handshake = tls(local(port), &config, "a.test").await;
        let Some(alert) = refusal else {
            let mut client = Client::new(handshake.expect("a handshake"));
            let response = client.exchange(get("a.test", "/")).await;
            assert_eq!(response.text(), "hi", "case {number}");
            served += 1;
            continue;
        };
        // By TLS 1.3 a client learns of a refusal when it reads.
        let error = match handshake {
            Ok(mut stream) => within("an alert", stream.read(&mut [0])).await.err(),
            Err(error) => Some(error),
        };
        let error = format!("{:?}", error.expect("a refusal"));
        assert!(
            error.contains(&format!("{alert:?}")),
            "case {number}: {error}"
        );
    }
    assert_eq!(backend.requests().len(), served);
    assert_eq!(served, 5);
}
