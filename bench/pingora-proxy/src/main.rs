//! `bare-pingora-proxy PLAIN_PORT TLS_PORT BACKEND_PORT CERTIFICATE KEY THREADS`: the smallest
//! proxy that pingora-proxy makes. No routes, no forwarded headers, no metrics: what is left is the
//! price of the library, with its own pool of kept connections.

use std::env;

use async_trait::async_trait;
use pingora::{
    listeners::tls::TlsSettings,
    prelude::*,
    server::configuration::{Opt, ServerConf},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare {
    backend: u16,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        let address = ("127.0.0.1", self.backend);
        Ok(Box::new(HttpPeer::new(address, false, String::new())))
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [plain, tls, backend, certificate, key, threads] = &arguments[..] else {
        panic!("six arguments are needed");
    };
    let configuration = ServerConf {
        threads: threads.parse().expect("THREADS is a number"),
        upstream_keepalive_pool_size: 256,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(Opt::default(), configuration);
    server.bootstrap();
    let backend = backend.parse().expect("BACKEND_PORT is a number");
    let mut service = http_proxy_service(&server.configuration, Bare { backend });
    service.add_tcp(&format!("127.0.0.1:{plain}"));
    let mut settings = TlsSettings::intermediate(certificate, key).expect("the pair is readable");
    settings.enable_h2();
    service.add_tls_with_settings(&format!("127.0.0.1:{tls}"), None, settings);
    server.add_service(service);
    server.run_forever();
}
