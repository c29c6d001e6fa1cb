//! Filters back to what was written: the last good version of a route is kept as its author may have
//! written it.
//!
//! What can be written in several ways is written in one. Compiled again, it is the same.

use std::{ops::RangeInclusive, time::Duration};

use ferrix_api::{
    gateway::{
        self, CorsFilter, ForwardBody, Fraction, GrpcAuth, HttpAuth, HttpHeader, MirrorReference,
        RequestMirror,
    },
    ingressroute::{
        Port,
        filter::{self, FaultAbort, FaultDelay, RegexMatch, StatusRange, Www},
    },
};
use ferrix_table::{
    filters::{
        access_log::AccessLog,
        api_key::{ApiKey, CredentialPlace},
        bandwidth::{Bandwidth, ByteRate},
        basic_auth::BasicAuth,
        body_size::BodySize,
        cache::{Cache, CacheTerms},
        client_certificate::{ClientCertificate, Detail},
        compression::{Compression, ContentEncoding},
        concurrency::Concurrency,
        cors::{Cors, Listed, OriginPattern},
        error_pages::{ErrorPages, Page},
        external_auth::{AuthProtocol, ExternalAuth, VerdictCache},
        faults::{Faults, Percent},
        header_changes::{Field, HeaderChanges},
        ip_filter::IpFilter,
        jwt::{ClaimHeader, Jwt, KeySource, RequiredClaim},
        limit_key::LimitKey,
        mirror::Mirror,
        oidc::{ClientAuthentication, Oidc},
        path_change::PathChange,
        rate_limit::{RateLimit, Scope},
        redirect::{Redirect, RedirectHost, RedirectScheme},
        request_buffering::RequestBuffering,
        respond::Respond,
        rewrite::Rewrite,
    },
    policy::{Retry, Timeouts},
};

use ipnet::IpNet;

use super::{error_pages, respond::CONTENT_TYPE};
use crate::{draft::DraftService, objects::Kind};

pub(crate) fn header_changes(changes: &HeaderChanges) -> gateway::HeaderChanges {
    let HeaderChanges { set, add, remove } = changes;
    gateway::HeaderChanges {
        set: set.iter().map(header).collect(),
        add: add.iter().map(header).collect(),
        remove: texts(remove),
    }
}

fn header(field: &Field) -> HttpHeader {
    HttpHeader {
        name: field.name.to_string(),
        value: field.value.to_string(),
    }
}

pub(crate) fn respond(respond: &Respond) -> filter::Respond {
    let Respond {
        status,
        body,
        fields,
    } = respond;
    // Where there is a body, the first field says what it is.
    let (kind, more) = match (body.is_empty(), &**fields) {
        (false, [kind, more @ ..]) if *kind.name == *CONTENT_TYPE => (Some(kind), more),
        (_, more) => (None, more),
    };
    filter::Respond {
        status: *status,
        body: (!body.is_empty()).then(|| String::from_utf8_lossy(body).into_owned()),
        content_type: kind.map(|kind| kind.value.to_string()),
        headers: more.iter().map(header).collect(),
    }
}

pub(crate) fn redirect(redirect: &Redirect) -> filter::Redirect {
    let Redirect {
        scheme,
        host,
        port,
        path,
        status,
    } = redirect;
    let scheme = scheme.map(|scheme| match scheme {
        RedirectScheme::Http => "http".to_owned(),
        RedirectScheme::Https => "https".to_owned(),
    });
    let (to, www) = match host {
        None => (None, None),
        Some(RedirectHost::To(host)) => (Some(hostname(host)), None),
        Some(RedirectHost::WithWww) => (None, Some(Www::Add)),
        Some(RedirectHost::WithoutWww) => (None, Some(Www::Strip)),
    };
    filter::Redirect {
        scheme,
        hostname: to,
        www,
        path: path.as_ref().map(path_change),
        port: *port,
        status_code: *status,
    }
}

pub(crate) fn rewrite(rewrite: &Rewrite) -> filter::Rewrite {
    let Rewrite { host, path } = rewrite;
    filter::Rewrite {
        hostname: host.as_deref().map(hostname),
        path: path.as_ref().map(path_change),
    }
}

/// An address of IPv6 stands in brackets.
fn hostname(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

fn path_change(change: &PathChange) -> filter::PathChange {
    let mut written = filter::PathChange::default();
    let kind = match change {
        PathChange::Full(path) => {
            written.replace_full_path = Some(path.to_string());
            "ReplaceFullPath"
        }
        // What is matched is said by the rule.
        PathChange::Prefix { replacement, .. } => {
            written.replace_prefix_match = Some(match &**replacement {
                "" => "/".to_owned(),
                replacement => replacement.to_owned(),
            });
            "ReplacePrefixMatch"
        }
        PathChange::Strip(prefixes) => {
            written.strip_prefix = Some(texts(prefixes));
            "StripPrefix"
        }
        PathChange::Add(prefix) => {
            written.add_prefix = Some(prefix.to_string());
            "AddPrefix"
        }
        PathChange::Regex(regex) => {
            written.replace_regex_match = Some(RegexMatch {
                pattern: regex.pattern().to_owned(),
                substitution: regex.template().to_owned(),
            });
            "ReplaceRegexMatch"
        }
    };
    written.kind = kind.to_owned();
    written
}

pub(crate) fn mirror(mirror: &Mirror<DraftService>, own_namespace: &str) -> RequestMirror {
    let Mirror {
        service,
        denominator,
        numerator,
    } = mirror;
    RequestMirror {
        backend_ref: reference(service, own_namespace),
        percent: None,
        fraction: Some(Fraction {
            numerator: *numerator,
            denominator: *denominator,
        }),
    }
}

pub(crate) fn cors(cors: &Cors) -> CorsFilter {
    let Cors {
        allow_origins,
        allow_methods,
        allow_headers,
        expose_headers,
        allow_credentials,
        max_age,
    } = cors;
    let origin = |pattern: &OriginPattern| match pattern {
        OriginPattern::Any => "*".to_owned(),
        OriginPattern::Exact(origin) => origin.to_string(),
        OriginPattern::Wildcard { prefix, suffix } => format!("{prefix}*{suffix}"),
    };
    CorsFilter {
        allow_origins: allow_origins.iter().map(origin).collect(),
        allow_credentials: Some(*allow_credentials),
        allow_methods: names(allow_methods),
        allow_headers: names(allow_headers),
        expose_headers: names(expose_headers),
        max_age: *max_age,
    }
}

fn names(listed: &Listed) -> Vec<String> {
    match listed {
        Listed::All => vec!["*".to_owned()],
        Listed::These(names) if names.is_empty() => Vec::new(),
        Listed::These(names) => names.split(", ").map(str::to_owned).collect(),
    }
}

pub(crate) fn error_pages(
    pages: &ErrorPages<DraftService>,
    own_namespace: &str,
) -> filter::ErrorPages {
    let ErrorPages {
        statuses,
        status,
        page,
    } = pages;
    let range = |range: &RangeInclusive<u16>| StatusRange {
        first: *range.start(),
        last: *range.end(),
    };
    let mut written = filter::ErrorPages {
        statuses: statuses.iter().map(range).collect(),
        status: *status,
        ..filter::ErrorPages::default()
    };
    match page {
        Page::Here { body, content_type } => {
            written.body = Some(String::from_utf8_lossy(body).into_owned());
            written.content_type = Some(content_type.value.to_string());
        }
        Page::Service { service, path } => {
            written.backend_ref = Some(reference(service, own_namespace));
            written.path = Some(path.join(error_pages::STATUS));
        }
    }
    written
}

pub(crate) fn faults(faults: &Faults) -> filter::Faults {
    let Faults { delay, abort } = *faults;
    filter::Faults {
        delay: delay.map(|(delay, Percent(percent))| FaultDelay {
            duration: duration(delay),
            percent: percent.into(),
        }),
        abort: abort.map(|(status, Percent(percent))| FaultAbort {
            status,
            percent: percent.into(),
        }),
    }
}

pub(crate) fn access_log(log: &AccessLog) -> filter::AccessLog {
    match log {
        AccessLog::Off => filter::AccessLog {
            enabled: false,
            ..filter::AccessLog::default()
        },
        AccessLog::With { request, response } => filter::AccessLog {
            enabled: true,
            request_headers: texts(request),
            response_headers: texts(response),
        },
    }
}

pub(crate) fn request_buffering(buffering: &RequestBuffering) -> filter::RequestBuffering {
    let RequestBuffering {
        max_bytes,
        memory_bytes,
    } = buffering;
    filter::RequestBuffering {
        max_bytes: Some(format!("{max_bytes}B")),
        memory_bytes: Some(format!("{memory_bytes}B")),
    }
}

pub(crate) fn basic_auth(auth: &BasicAuth) -> filter::BasicAuth {
    let BasicAuth {
        users,
        realm,
        user_header,
        hide_credentials,
    } = auth;
    filter::BasicAuth {
        secret: users.named.name.to_string(),
        realm: Some(realm.to_string()),
        user_header: user_header.as_deref().map(str::to_owned),
        hide_credentials: *hide_credentials,
    }
}

pub(crate) fn api_key(auth: &ApiKey) -> filter::ApiKey {
    let ApiKey {
        clients,
        place,
        client_header,
        hide_credentials,
    } = auth;
    filter::ApiKey {
        secret: clients.named.name.to_string(),
        from: credential_place(place),
        client_header: client_header.as_deref().map(str::to_owned),
        hide_credentials: *hide_credentials,
    }
}

fn credential_place(place: &CredentialPlace) -> filter::CredentialPlace {
    let mut written = filter::CredentialPlace::default();
    let (field, name) = match place {
        CredentialPlace::Header(name) => (&mut written.header, name),
        CredentialPlace::Query(name) => (&mut written.query, name),
        CredentialPlace::Cookie(name) => (&mut written.cookie, name),
    };
    *field = Some(name.to_string());
    written
}

pub(crate) fn client_certificate(filter: &ClientCertificate) -> filter::ClientCertificate {
    let ClientCertificate {
        authorities,
        optional,
        headers,
    } = filter;
    let mut written = filter::CertificateAuthorities::default();
    let member = match authorities.named.kind {
        Kind::ConfigMap => &mut written.config_map,
        _ => &mut written.secret,
    };
    *member = Some(authorities.named.name.to_string());
    let headers = headers.iter().map(|it| filter::DetailHeader {
        detail: match it.detail {
            Detail::Subject => filter::CertificateDetail::Subject,
            Detail::Names => filter::CertificateDetail::Names,
            Detail::Fingerprint => filter::CertificateDetail::Fingerprint,
            Detail::Certificate => filter::CertificateDetail::Certificate,
            Detail::ForwardedClientCert => filter::CertificateDetail::ForwardedClientCert,
        },
        header: it.header.to_string(),
    });
    filter::ClientCertificate {
        authorities: written,
        optional: *optional,
        details_to_headers: headers.collect(),
    }
}

pub(crate) fn jwt(jwt: &Jwt) -> filter::Jwt {
    let Jwt {
        keys,
        place,
        issuer,
        audiences,
        leeway,
        required,
        headers,
        optional,
        hide_credentials,
    } = jwt;
    let mut jwks = filter::Jwks::default();
    match keys {
        KeySource::Inline(keys) => jwks.inline = Some(keys.text.to_string()),
        KeySource::Object { keys, entry } => {
            let member = match keys.named.kind {
                Kind::ConfigMap => &mut jwks.config_map,
                _ => &mut jwks.secret,
            };
            *member = Some(filter::KeysEntry {
                name: keys.named.name.to_string(),
                key: Some(entry.to_string()),
            });
        }
        KeySource::Url { url, .. } => jwks.url = Some(url.to_string()),
    }
    filter::Jwt {
        jwks,
        issuer: issuer.as_deref().map(str::to_owned),
        audiences: texts(audiences),
        leeway: Some(duration(*leeway)),
        from: place.as_ref().map(credential_place),
        required_claims: required_claims(required),
        claims_to_headers: claims_to_headers(headers),
        optional: *optional,
        hide_credentials: *hide_credentials,
    }
}

fn required_claims(required: &[RequiredClaim]) -> Vec<filter::RequiredClaim> {
    let required = required.iter();
    let written = |RequiredClaim { name, values }: &RequiredClaim| filter::RequiredClaim {
        name: name.to_string(),
        values: texts(values),
    };
    required.map(written).collect()
}

fn claims_to_headers(headers: &[ClaimHeader]) -> Vec<filter::ClaimHeader> {
    let headers = headers.iter();
    let written = |ClaimHeader { claim, header }: &ClaimHeader| filter::ClaimHeader {
        claim: claim.to_string(),
        header: header.to_string(),
    };
    headers.map(written).collect()
}

pub(crate) fn oidc(oidc: &Oidc) -> filter::Oidc {
    let Oidc {
        issuer,
        client_id,
        secrets,
        authentication,
        scopes,
        callback_path,
        logout_path,
        after_logout,
        lifetime,
        leeway,
        required,
        headers,
        prepared: _,
    } = oidc;
    filter::Oidc {
        issuer: issuer.to_string(),
        client_id: client_id.to_string(),
        secret: secrets.named.name.to_string(),
        client_authentication: authentication.map(|it| match it {
            ClientAuthentication::Basic => filter::ClientAuthentication::Basic,
            ClientAuthentication::Post => filter::ClientAuthentication::Post,
        }),
        scopes: Some(texts(scopes)),
        callback_path: Some(callback_path.to_string()),
        logout_path: Some(logout_path.to_string()),
        after_logout: after_logout.as_deref().map(str::to_owned),
        session_lifetime: Some(duration(*lifetime)),
        leeway: Some(duration(*leeway)),
        required_claims: required_claims(required),
        claims_to_headers: claims_to_headers(headers),
    }
}

pub(crate) fn external_auth(
    auth: &ExternalAuth<DraftService>,
    own_namespace: &str,
) -> filter::ExternalAuth {
    let ExternalAuth {
        service,
        protocol,
        body_bytes,
        verdicts,
        sign_in,
    } = auth;
    let (name, http, grpc) = match protocol {
        AuthProtocol::Http {
            path_prefix,
            request_headers,
            response_headers,
        } => {
            let http = HttpAuth {
                path: (!path_prefix.is_empty()).then(|| path_prefix.to_string()),
                allowed_headers: texts(request_headers),
                allowed_response_headers: texts(response_headers),
            };
            ("HTTP", Some(http), None)
        }
        AuthProtocol::Grpc { request_headers } => {
            let allowed_headers = texts(request_headers);
            ("GRPC", None, Some(GrpcAuth { allowed_headers }))
        }
    };
    let cache = verdicts.as_deref().map(|verdicts| {
        let VerdictCache {
            ttl,
            key_headers,
            headers_alone,
            kept: _,
        } = verdicts;
        filter::VerdictCache {
            ttl: duration(*ttl),
            key_headers: texts(key_headers),
            headers_alone: *headers_alone,
        }
    });
    filter::ExternalAuth {
        cache,
        sign_in: sign_in.as_deref().map(str::to_owned),
        protocol: name.to_owned(),
        backend_ref: reference(service, own_namespace),
        grpc,
        http,
        forward_body: Some(ForwardBody {
            max_size: Some((*body_bytes).into()),
        }),
    }
}

pub(crate) fn compression(compression: &Compression) -> filter::Compression {
    let Compression {
        encodings,
        min_bytes,
        content_types,
    } = compression;
    let encoding = |encoding: &ContentEncoding| match encoding {
        ContentEncoding::Zstd => filter::ContentEncoding::Zstd,
        ContentEncoding::Brotli => filter::ContentEncoding::Brotli,
        ContentEncoding::Gzip => filter::ContentEncoding::Gzip,
    };
    filter::Compression {
        encodings: Some(encodings.iter().map(encoding).collect()),
        min_bytes: Some(*min_bytes),
        content_types: (!content_types.is_empty()).then(|| texts(content_types)),
    }
}

pub(crate) fn ip_filter(filter: &IpFilter) -> filter::IpFilter {
    let networks = |list: &[IpNet]| list.iter().map(IpNet::to_string).collect();
    filter::IpFilter {
        allow: networks(filter.allow()),
        deny: networks(filter.deny()),
    }
}

pub(crate) fn rate_limit(limit: &RateLimit) -> filter::RateLimit {
    let RateLimit {
        requests,
        per,
        burst,
        rate: _,
        by,
        scope,
        dry_run,
        state: _,
    } = limit;
    filter::RateLimit {
        requests: *requests,
        per: Some(duration(*per)),
        burst: Some(*burst),
        by: Some(limit_key(by)),
        scope: Some(match scope {
            Scope::Replica => filter::LimitScope::Replica,
            Scope::Cluster => filter::LimitScope::Cluster,
        }),
        dry_run: *dry_run,
    }
}

pub(crate) fn concurrency(limit: &Concurrency) -> filter::Concurrency {
    let Concurrency {
        requests,
        by,
        state: _,
    } = limit;
    filter::Concurrency {
        requests: *requests,
        by: Some(limit_key(by)),
    }
}

fn limit_key(key: &LimitKey) -> filter::LimitKey {
    let mut written = filter::LimitKey::default();
    match key {
        LimitKey::Client { ipv6_prefix } => {
            written.client = Some(filter::ClientKey {
                ipv6_prefix: Some(*ipv6_prefix),
            });
        }
        LimitKey::Route => written.route = Some(filter::RouteKey {}),
        LimitKey::Header(name) => written.header = Some(name.to_string()),
        LimitKey::Cookie(name) => written.cookie = Some(name.to_string()),
        LimitKey::Claim(name) => written.claim = Some(name.to_string()),
    }
    written
}

pub(crate) fn body_size(limit: &BodySize) -> filter::BodySize {
    filter::BodySize {
        max: format!("{}B", limit.max),
    }
}

pub(crate) fn bandwidth(limit: &Bandwidth) -> filter::Bandwidth {
    let Bandwidth {
        request,
        response,
        by,
        state: _,
    } = limit;
    let rate = |rate: &ByteRate| filter::ByteRate {
        bytes_per_second: format!("{}B", rate.bytes_per_second),
        burst: Some(format!("{}B", rate.burst)),
    };
    filter::Bandwidth {
        request: request.as_ref().map(rate),
        response: response.as_ref().map(rate),
        by: by.as_ref().map(limit_key),
    }
}

/// When it was purged is for the object to say, and not for the filter.
pub(crate) fn cache(cache: &Cache) -> filter::Cache {
    let Cache {
        max_bytes,
        terms,
        key_headers,
        purge: _,
        state: _,
    } = cache;
    let CacheTerms {
        max_object_bytes,
        default_ttl,
        stale_while_revalidate,
        stale_if_error,
    } = *terms;
    let limit = |limit: Duration| (!limit.is_zero()).then(|| duration(limit));
    filter::Cache {
        max_bytes: Some(format!("{max_bytes}B")),
        max_object_bytes: Some(format!("{max_object_bytes}B")),
        default_ttl: limit(default_ttl),
        stale_while_revalidate: limit(stale_while_revalidate),
        stale_if_error: limit(stale_if_error),
        key_headers: (!key_headers.is_empty()).then(|| texts(key_headers)),
    }
}

/// A reference that can be none is not good, and so never written.
fn reference(service: &DraftService, own_namespace: &str) -> MirrorReference {
    let Ok(service) = service else {
        return MirrorReference::default();
    };
    let namespace = Some(&*service.service.namespace).filter(|it| *it != own_namespace);
    MirrorReference {
        name: service.service.name.to_string(),
        namespace: namespace.map(str::to_owned),
        port: match service.port {
            Port::Number(port) => Some(port),
            Port::Name(_) => None,
        },
        ..MirrorReference::default()
    }
}

pub(crate) fn timeouts(timeouts: &Timeouts) -> Option<gateway::Timeouts> {
    let Timeouts {
        request,
        backend_request,
    } = timeouts;
    (*timeouts != Timeouts::default()).then(|| gateway::Timeouts {
        request: request.map(duration),
        backend_request: backend_request.map(duration),
    })
}

pub(crate) fn retry(retry: &Retry) -> gateway::Retry {
    let Retry {
        codes,
        attempts,
        backoff,
    } = retry;
    gateway::Retry {
        codes: codes.to_vec(),
        attempts: attempts.map(u32::from),
        backoff: (!backoff.is_zero()).then(|| duration(*backoff)),
    }
}

/// As `parse_duration` of `filters::policy` reads it.
fn duration(duration: Duration) -> String {
    let (seconds, milliseconds) = (duration.as_secs(), duration.subsec_millis());
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(milliseconds), "ms"),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    let text: String = parts
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text,
    }
}

fn texts(texts: &[Box<str>]) -> Vec<String> {
    texts.iter().map(|it| it.to_string()).collect()
}
