//! A browser, as far as logins need one: it keeps cookies, and sends them where they belong.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::client::{self, Response};

/// A browser without scripts.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    /// By host and name.
    jar: BTreeMap<(String, String), String>,
}

impl Browser {
    /// `Cookie` of requests to a host; empty: none.
    pub fn cookies(&self, host: &str) -> String {
        let cookies = self.of(host);
        let cookies = cookies.map(|(name, value)| format!("{name}={value}"));
        cookies.collect::<Vec<_>>().join("; ")
    }

    /// The cookies of a host by their names.
    pub fn of<'b>(&'b self, host: &'b str) -> impl Iterator<Item = (&'b str, &'b str)> {
        let cookies = self.jar.iter();
        let cookies = cookies.filter(move |((of, _), _)| of == host);
        cookies.map(|((_, name), value)| (name.as_str(), value.as_str()))
    }

    /// Gives it a cookie of a host.
    pub fn put(&mut self, host: &str, name: &str, value: &str) {
        let key = (host.to_owned(), name.to_owned());
        self.jar.insert(key, value.to_owned());
    }

    /// Takes what a host says in `Set-Cookie`.
    ///
    /// # Panics
    /// Where browsers would not: it is too long.
    pub fn take<'s>(&mut self, host: &str, cookies: impl IntoIterator<Item = &'s str>) {
        for cookie in cookies {
            assert!(cookie.len() <= 4096, "{} bytes: {cookie}", cookie.len());
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').expect("a cookie with a name");
            let attribute = |wanted: &str| {
                let mut all = attributes.split(';').map(str::trim);
                all.any(|it| it.eq_ignore_ascii_case(wanted))
            };
            match attribute("Max-Age=0") {
                true => drop(self.jar.remove(&(host.to_owned(), name.to_owned()))),
                false => self.put(host, name, value),
            }
        }
    }

    /// Goes to a page of a host, which listens there.
    pub async fn navigate(&mut self, address: SocketAddr, host: &str, target: &str) -> Response {
        self.send(address, host, &format!("GET {target}"), "").await
    }

    /// Sends a form.
    pub async fn submit(
        &mut self,
        address: SocketAddr,
        host: &str,
        target: &str,
        form: &str,
    ) -> Response {
        self.send(address, host, &format!("POST {target}"), form)
            .await
    }

    async fn send(&mut self, address: SocketAddr, host: &str, line: &str, form: &str) -> Response {
        let cookie = match self.cookies(host) {
            none if none.is_empty() => none,
            some => format!("Cookie: {some}\r\n"),
        };
        let body = match form {
            "" => String::new(),
            form => format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                form.len()
            ),
        };
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html,*/*;q=0.8\r\n\
             Sec-Fetch-Mode: navigate\r\n{cookie}{body}\r\n{form}"
        );
        let response = client::once(address, request).await;
        let fields = response.head.fields.iter();
        let cookies = fields.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        self.take(host, cookies.map(|(_, value)| value.as_str()));
        response
    }
}
