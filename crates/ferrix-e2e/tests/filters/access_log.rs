//! What the access log has of the requests of a rule.

use std::{sync::Arc, time::Duration};

use ferrix_e2e::{Backend, Gateway, Routes, backend::Dead, within};
use ferrix_proxy::access_log::MoreFields;
use ferrix_table::{
    filters::{
        Filter,
        access_log::AccessLog,
        cache::{Cache, CacheTerms},
        header_changes::HeaderChanges,
        lasting::{FilterId, Lasting},
        respond::Respond,
    },
    object::{Key, Kind},
    services::Protocol,
};

use crate::{Ask, GET, ask_once, field, filters};

fn with(request: &[&str], response: &[&str]) -> Filter {
    let names = |names: &[&str]| names.iter().map(|it| (*it).into()).collect();
    Filter::AccessLog(Arc::new(AccessLog::With {
        request: names(request),
        response: names(response),
    }))
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(Box<str>, String)> {
    let fields = fields.iter();
    fields
        .map(|(name, value)| ((*name).into(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn fields_join_the_record_and_others_have_none() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Cache: hit\r\nX-Cache: 2\r\n\r\nhi",
    )
    .await;
    let dead = Dead::new();
    let added = || {
        Filter::ResponseHeaders(HeaderChanges {
            set: [field("X-Added", "here")].into(),
            ..HeaderChanges::default()
        })
    };
    let more = || {
        with(
            &["x-tenant", "x-none"],
            &["x-cache", "x-added", "content-type"],
        )
    };
    let respond = Respond {
        status: 503,
        body: Arc::from(b"no".as_slice()),
        fields: [field("Content-Type", "text/plain")].into(),
    };
    let routes = Routes::new()
        .service("all", Protocol::Http1, &[backend.address()])
        .service("dead", Protocol::Http1, &[dead.address()])
        .rule("*", "", &[("all", 1)])
        .rule("*", "Path(`/more`)", &[("all", 1)])
        .policy(filters([more(), added()]))
        .rule("*", "Path(`/answer`)", &[("all", 1)])
        .policy(filters([more(), Filter::Respond(respond), added()]))
        .rule("*", "Path(`/dead`)", &[("dead", 1)])
        .policy(filters([more()]))
        .rule("*", "Path(`/off`)", &[("all", 1)])
        .policy(filters([Filter::AccessLog(Arc::new(AccessLog::Off))]));
    let (gateway, mut records) = Gateway::start_logged(routes);
    let tenant = [("x-tenant", "a, b")];
    let html = "text/html; charset=utf-8";
    let cases = [
        ("/", None),
        (
            "/more",
            Some(&[("x-cache", "hit, 2"), ("x-added", "here")][..]),
        ),
        (
            "/answer",
            Some(&[("x-added", "here"), ("content-type", "text/plain")]),
        ),
        ("/dead", Some(&[("content-type", html)])),
    ];
    let mut ran = 0;
    for http2 in [false, true] {
        for (path, response) in cases {
            let fields = [("X-Tenant", "a"), ("X-Tenant", "b"), ("X-Other", "c")];
            // Of which there is no record.
            for path in ["/off", path] {
                let request = Ask {
                    path,
                    fields: &fields,
                    ..GET
                };
                ask_once(&gateway, http2, request).await;
            }
            let record = within("a record", records.recv()).await.unwrap();
            assert_eq!(record.path, path);
            let expected = response.map(|response| MoreFields {
                request: pairs(&tenant),
                response: pairs(response),
            });
            assert_eq!(record.more.as_deref(), expected.as_ref(), "{path}");
            ran += 1;
        }
    }
    assert_eq!(ran, 8);
}

/// What stands behind a cache says of its answers what it says of others.
#[tokio::test]
async fn answers_of_a_cache_are_logged_alike() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\nX-Cache: 1\r\n\r\nhi",
    )
    .await;
    let cache = |place: &str| {
        Filter::Cache(Box::new(Cache {
            max_bytes: 1 << 20,
            terms: CacheTerms {
                max_object_bytes: 1 << 16,
                default_ttl: Duration::ZERO,
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
            },
            key_headers: Box::default(),
            purge: None,
            state: Lasting::new(FilterId {
                object: Key::new(Kind::IngressRoute, "default", "r"),
                place: place.into(),
            }),
        }))
    };
    let off = Filter::AccessLog(Arc::new(AccessLog::Off));
    let more = with(&["x-tenant"], &["x-cache"]);
    let routes = Routes::all_to(&[backend.address()])
        .policy(filters([cache("one"), more]))
        .rule("*", "Path(`/off`)", &[("all", 1)])
        .policy(filters([cache("other"), off]));
    let (gateway, mut records) = Gateway::start_logged(routes);
    let mut ran = 0;
    for http2 in [false, true, false] {
        for path in ["/off", "/"] {
            let request = Ask {
                path,
                fields: &[("X-Tenant", "a")],
                ..GET
            };
            assert_eq!(ask_once(&gateway, http2, request).await.body, "hi");
        }
        let record = within("a record", records.recv()).await.unwrap();
        let expected = MoreFields {
            request: pairs(&[("x-tenant", "a")]),
            response: pairs(&[("x-cache", "1")]),
        };
        assert_eq!(
            (&*record.path, record.more),
            ("/", Some(Box::new(expected)))
        );
        ran += 1;
    }
    assert_eq!((ran, backend.requests().len()), (3, 2));
}

#[tokio::test]
async fn long_values_are_cut() {
    let backend = Backend::hello("hi").await;
    let routes = Routes::all_to(&[backend.address()]);
    let (gateway, mut records) =
        Gateway::start_logged(routes.policy(filters([with(&["x-a"], &[])])));
    let long = "x".repeat(5000);
    let fields = [("X-A", &*long)];
    let request = Ask {
        fields: &fields,
        ..GET
    };
    ask_once(&gateway, false, request).await;
    let record = within("a record", records.recv()).await.unwrap();
    let more = record.more.unwrap();
    assert_eq!(more.request[0].1.len(), 1024);
}
