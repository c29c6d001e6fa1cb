//! A client of each protocol, asked alike.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{Client, Gateway, Http2Client};

/// A client over HTTP/1 and one over HTTP/2, which keep their connections.
pub struct Clients {
    one: Client,
    two: Http2Client,
}

/// A response at either.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub fields: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// The fields after its body, in lower case.
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    /// The values of the fields of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let is_it = |it: &&(String, String)| it.0.eq_ignore_ascii_case(name);
        let fields = self.fields.iter().filter(is_it);
        fields.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of the field of this name.
    ///
    /// # Panics
    /// Where there are several.
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "several fields {name}: {all:?}");
        all.first().copied()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Clients {
    /// Connects both.
    pub async fn new(gateway: &Gateway) -> Self {
        Self {
            one: gateway.client().await,
            two: gateway.http2().await,
        }
    }

    /// Asks for a path of `example.com`, over HTTP/2 or HTTP/1. A `Host` among the fields takes the place
    /// of that one.
    ///
    /// # Panics
    /// Where there is no whole response.
    pub async fn ask(
        &mut self,
        http2: bool,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let host = fields.iter().find(|(name, _)| *name == "Host");
        let host = host.map_or("example.com", |(_, host)| *host);
        let fields = fields.iter().filter(|(name, _)| *name != "Host");
        match http2 {
            false => {
                let lines: String = fields
                    .map(|(name, value)| format!("{name}: {value}\r\n"))
                    .collect();
                let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
                self.one.send(head).await;
                let response = self.one.try_response(method).await;
                let response = response.expect("a whole response");
                let trailers = response.trailers.into_iter();
                Answer {
                    status: response.status,
                    fields: response.head.fields,
                    body: response.body,
                    trailers: trailers
                        .map(|(name, value)| (name.to_lowercase(), value))
                        .collect(),
                }
            }
            true => {
                let mut request = self.two.request_for(host, method, path);
                for (name, value) in fields {
                    let name: HeaderName = name.parse().unwrap();
                    request.headers_mut().append(name, value.parse().unwrap());
                }
                let response = self.two.fetch(request).await.expect("a whole response");
                Answer {
                    status: response.status.as_u16(),
                    fields: pairs(&response.headers),
                    body: response.body,
                    trailers: response.trailers.as_ref().map(pairs).unwrap_or_default(),
                }
            }
        }
    }
}

fn pairs(map: &HeaderMap) -> Vec<(String, String)> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    map.iter().map(pair).collect()
}
