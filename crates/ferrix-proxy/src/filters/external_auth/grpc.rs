//! How an authorisation service is asked by gRPC: by Envoy's protocol, which many of them speak.
//!
//! One call over HTTP/2, with one message each way. Whatever is not a whole answer lets nothing pass.

use std::{collections::HashMap, net::SocketAddr, str};

use bytes::Bytes;
use ferrix_http1::{Fields, RequestHead, ResponseHead};
use ferrix_table::services::ServiceId;
use http::StatusCode;

use super::{
    Asker, Verdict,
    check::{
        Address, AppendAction, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse,
        HeaderValueOption, HttpRequest, HttpResponse, OkHttpResponse, Peer, Request, SocketAddress,
    },
};
use crate::{filters::credentials, grpc_call, headers, subrequest::Reply};

/// The one method that is called.
const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";

/// How long the service may take, as it is told: what `LIMIT` says.
const TIMEOUT: &str = "10S";

/// The header section of the call, for a message of so many bytes.
pub(super) fn call(service: &ServiceId, length: usize) -> RequestHead {
    let (name, namespace) = (&service.service.name, &service.service.namespace);
    let host = format!("{name}.{namespace}.svc:{}", service.port);
    grpc_call::head(METHOD, &host, TIMEOUT, length)
}

/// The message of the call: the request, with no more of its header than is `allowed`; nothing: all.
pub(super) fn question(
    head: &RequestHead,
    asker: Asker,
    allowed: &[Box<str>],
    body: &Bytes,
) -> Bytes {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (body_text, raw_body) = match str::from_utf8(body) {
        Ok(text) => (text.to_owned(), Vec::new()),
        Err(_) => (String::new(), body.to_vec()),
    };
    let http = HttpRequest {
        method: head.method.as_str().to_owned(),
        headers: told(&head.fields, allowed),
        path: text(head.target()),
        host: text(head.fields.get("host").unwrap_or_default()),
        scheme: if asker.secure { "https" } else { "http" }.to_owned(),
        size: size(head),
        protocol: format!("{:?}", head.version),
        body: body_text,
        raw_body,
    };
    let client = SocketAddr::from(asker.client);
    let address = SocketAddress {
        address: client.ip().to_string(),
        port: client.port().into(),
    };
    let source = Peer {
        address: Some(Address {
            socket_address: Some(address),
        }),
    };
    let request = CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(source),
            request: Some(Request { http: Some(http) }),
        }),
    };
    grpc_call::framed(&request)
}

/// The fields that the service gets to know.
fn told(fields: &Fields, allowed: &[Box<str>]) -> HashMap<String, String> {
    let is_told =
        |name: &str| allowed.is_empty() || allowed.iter().any(|it| it.eq_ignore_ascii_case(name));
    let mut told: HashMap<String, String> = HashMap::new();
    for (name, value) in fields.iter() {
        let (Ok(name), value) = (str::from_utf8(name), String::from_utf8_lossy(value)) else {
            continue;
        };
        if !is_told(name) {
            continue;
        }
        told.entry(name.to_ascii_lowercase())
            .and_modify(|earlier| {
                earlier.push(',');
                earlier.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    told
}

/// The length of the request's body; −1: not known.
fn size(head: &RequestHead) -> i64 {
    let length = head.fields.get("content-length");
    let length = length.and_then(|it| str::from_utf8(it).ok()?.parse().ok());
    match head.fields.contains("transfer-encoding") {
        true => -1,
        false => length.unwrap_or(0),
    }
}

/// What the service says. A request that passes gets what it has for it.
///
/// # Errors
/// Why that is no verdict.
pub(super) fn verdict(reply: &Reply, head: &mut RequestHead) -> Result<Verdict, String> {
    let answer: CheckResponse = grpc_call::answer(reply)?;
    let code = answer.status.map_or(0, |status| status.code);
    match (code, answer.http_response) {
        (0, None) => Ok(Verdict::Passed),
        (0, Some(HttpResponse::Ok(changes))) => {
            let changes = Changes::of(&changes)?;
            changes.apply(&mut head.fields);
            Ok(Verdict::Passed)
        }
        (_, Some(HttpResponse::Denied(denied))) if code != 0 => refusal(denied),
        (0, Some(HttpResponse::Denied(_))) => {
            Err("it denies the request and says that it may pass".to_owned())
        }
        (_, _) => refusal(DeniedHttpResponse::default()),
    }
}

/// What the service wants changed of the request.
struct Changes<'a> {
    /// A name in lower case, a value, and how it joins what is there.
    set: Vec<(&'a str, &'a [u8], AppendAction)>,
    removed: Vec<&'a str>,
}

impl<'a> Changes<'a> {
    /// # Errors
    /// One that is no field.
    fn of(changes: &'a OkHttpResponse) -> Result<Self, String> {
        let set = changes.headers.iter().map(|it| {
            let (name, value) = field(it)?;
            let action = match (it.append_action(), it.append) {
                (AppendAction::AppendIfExistsOrAdd, Some(true)) => {
                    AppendAction::AppendIfExistsOrAdd
                }
                (AppendAction::AppendIfExistsOrAdd, Some(false) | None) => {
                    AppendAction::OverwriteIfExistsOrAdd
                }
                (action, _) => action,
            };
            Ok((name, value, action))
        });
        Ok(Self {
            set: set.collect::<Result<_, String>>()?,
            removed: changes
                .headers_to_remove
                .iter()
                .map(String::as_str)
                .collect(),
        })
    }

    /// But for what is about the message, the connection and the host, which is ours to say.
    fn apply(&self, fields: &mut Fields) {
        for name in self.removed.iter().filter(|it| !headers::is_of_message(it)) {
            credentials::take_out_identity(name, fields);
        }
        let set = self.set.iter();
        for (name, value, action) in set.filter(|(name, ..)| !headers::is_of_message(name)) {
            let exists = fields.contains(name);
            match action {
                AppendAction::AppendIfExistsOrAdd => fields.append(name, value),
                AppendAction::AddIfAbsent if exists => {}
                AppendAction::OverwriteIfExists if !exists => {}
                AppendAction::AddIfAbsent
                | AppendAction::OverwriteIfExists
                | AppendAction::OverwriteIfExistsOrAdd => {
                    // Some backends read other spellings as the same.
                    credentials::take_out_identity(name, fields);
                    fields.append(name, value);
                }
            }
        }
    }
}

/// A field, if it is one (RFC 9110, section 5).
fn field(option: &HeaderValueOption) -> Result<(&str, &[u8]), String> {
    let header = option.header.as_ref();
    let header = header.ok_or_else(|| "it names a field without a name".to_owned())?;
    let value = match header.raw_value.is_empty() {
        true => header.value.as_bytes(),
        false => &header.raw_value,
    };
    let is_name = http::HeaderName::from_bytes(header.key.as_bytes()).is_ok();
    let is_value = http::HeaderValue::from_bytes(value).is_ok();
    match is_name && is_value {
        true => Ok((&header.key, value)),
        false => Err(format!(
            "`{}` is no header field",
            header.key.escape_debug()
        )),
    }
}

/// A refusal in the words of the service: 403 where it has none.
fn refusal(denied: DeniedHttpResponse) -> Result<Verdict, String> {
    let status = match denied.status {
        None => StatusCode::FORBIDDEN,
        Some(status) => u16::try_from(status.code)
            .ok()
            .filter(|code| (200..600).contains(code))
            .and_then(|code| StatusCode::from_u16(code).ok())
            .unwrap_or(StatusCode::FORBIDDEN),
    };
    let mut refusal = ResponseHead::new(status);
    for option in &denied.headers {
        let (name, value) = field(option)?;
        if !headers::is_of_message(name) {
            refusal.fields.append(name, value);
        }
    }
    Ok(Verdict::Refused(refusal, denied.body.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::external_auth::check::HeaderValue;

    fn option(
        key: &str,
        value: &str,
        append: Option<bool>,
        action: AppendAction,
    ) -> HeaderValueOption {
        HeaderValueOption {
            header: Some(HeaderValue {
                key: key.to_owned(),
                value: value.to_owned(),
                raw_value: Vec::new(),
            }),
            append,
            append_action: action.into(),
        }
    }

    #[test]
    fn fields_are_set_as_the_service_says() {
        use AppendAction::{
            AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd,
        };
        let cases = [
            ("X-A", None, AppendIfExistsOrAdd, &["new"][..]),
            ("X-A", Some(false), AppendIfExistsOrAdd, &["new"]),
            ("X-A", Some(true), AppendIfExistsOrAdd, &["old", "new"]),
            ("X-A", None, AddIfAbsent, &["old"]),
            ("X-A", None, OverwriteIfExistsOrAdd, &["new"]),
            ("X-A", None, OverwriteIfExists, &["new"]),
            ("X-B", None, AppendIfExistsOrAdd, &["new"]),
            ("X-B", Some(true), AppendIfExistsOrAdd, &["new"]),
            ("X-B", None, AddIfAbsent, &["new"]),
            ("X-B", None, OverwriteIfExists, &[]),
            // Of the message and its host.
            ("Host", None, OverwriteIfExistsOrAdd, &["a.test"]),
            ("Content-Length", Some(true), AppendIfExistsOrAdd, &["7"]),
        ];
        let mut ran = 0;
        for (name, append, action, expected) in cases {
            let mut fields = Fields::default();
            for (name, value) in [("X-A", "old"), ("Host", "a.test"), ("Content-Length", "7")] {
                fields.append(name, value.as_bytes());
            }
            let changes = OkHttpResponse {
                headers: vec![option(&name.to_lowercase(), "new", append, action)],
                headers_to_remove: vec!["host".to_owned(), "content-length".to_owned()],
            };
            let changes = Changes::of(&changes);
            changes
                .unwrap_or_else(|error| panic!("{error}"))
                .apply(&mut fields);
            let found: Vec<_> = fields.get_all(name).collect();
            let expected: Vec<_> = expected.iter().map(|it| it.as_bytes()).collect();
            assert_eq!(found, expected, "{name} {append:?} {action:?}");
            ran += 1;
        }
        assert_eq!(ran, 12);
    }

    #[test]
    fn other_spellings_give_way_too() {
        let changes = OkHttpResponse {
            headers: vec![option(
                "x-user",
                "alice",
                None,
                AppendAction::OverwriteIfExistsOrAdd,
            )],
            headers_to_remove: vec!["x-debug".to_owned()],
        };
        let mut fields = Fields::default();
        for name in ["X_User", "x.user", "X-Debug", "x_debug", "X-Users"] {
            fields.append(name, b"forged");
        }
        let changes = Changes::of(&changes);
        changes
            .unwrap_or_else(|error| panic!("{error}"))
            .apply(&mut fields);
        let found: Vec<_> = fields.iter().collect();
        assert_eq!(
            found,
            [(&b"X-Users"[..], &b"forged"[..]), (b"x-user", b"alice")]
        );
    }

    #[test]
    fn what_is_no_field_is_no_verdict() {
        for (name, value) in [("", "a"), ("a b", "a"), ("a", "b\r\nc: d"), ("a", "\0")] {
            let changes = OkHttpResponse {
                headers: vec![option(name, value, None, AppendAction::AddIfAbsent)],
                headers_to_remove: Vec::new(),
            };
            assert!(Changes::of(&changes).is_err(), "{name:?} {value:?}");
        }
    }
}
