//! Other paths, judged by what arrives: prefixes that come and go, and expressions.

use ferrix_e2e::{Backend, Gateway, Routes};
use ferrix_rule::Substitution;
use ferrix_table::filters::{
    Filter,
    path_change::PathChange,
    redirect::{Redirect, RedirectHost},
    rewrite::Rewrite,
};

use crate::{Ask, Either, GET, PAIRS, ask, ask_once, filters};

fn regex(pattern: &str, template: &str) -> PathChange {
    PathChange::Regex(Box::new(Substitution::new(pattern, template).unwrap()))
}

#[tokio::test]
async fn what_arrives_is_canonical() {
    let strip = || PathChange::Strip(["/api".into(), "/internal/v1".into()].into());
    let cases = [
        (strip(), "/api/users?a=/api", "/users?a=/api", &["/api"][..]),
        (strip(), "/api", "/", &["/api"]),
        (strip(), "/internal/v1/a", "/a", &["/internal/v1"]),
        (strip(), "/apiary", "/apiary", &[]),
        (PathChange::Add("/v2".into()), "/a?b", "/v2/a?b", &[]),
        (
            regex("^/u/([0-9]+)", "/users/$1"),
            "/u/7?x=$1",
            "/users/7?x=$1",
            &[],
        ),
        (
            regex("^/u/(.*)$", "/users/$1"),
            "/u/$1%24%7Bhost%7D",
            "/users/$1%24%7Bhost%7D",
            &[],
        ),
        (regex("^/u/(.*)$", "/users/$1"), "/other", "/other", &[]),
    ];
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        let backend = Either::start(to_backend).await;
        for (change, path, expected, prefix) in &cases {
            let rewrite = Rewrite {
                host: None,
                path: Some(change.clone()),
            };
            let policy = filters([Filter::Rewrite(rewrite)]);
            let gateway = Gateway::start(backend.routes().policy(policy));
            for answer in ask(&gateway, to_client, Ask { path, ..GET }).await {
                assert_eq!(answer.status, 200, "{path}");
                let arrived = backend.last();
                assert_eq!(arrived.target, *expected, "{path}");
                assert_eq!(arrived.all("x-forwarded-prefix"), *prefix, "{path}");
                ran += 1;
            }
        }
    }
    assert_eq!(ran, 4 * 8 * 2);
}

/// The spellings of a protected path, through each change that could uncover it.
#[tokio::test]
async fn nothing_climbs_out_of_a_rewrite() {
    let backend = Backend::hello("hi").await;
    let changes = [
        PathChange::Strip(["/api".into()].into()),
        regex("^/api/?(.*)$", "/$1"),
        regex("^/api", ""),
        regex("^/api/(.*)$", "/public/$1"),
    ];
    let spellings = [
        "/api/%2Fadmin",
        "/api/%5Cadmin",
        "/api/..;/admin",
        "/api/..%2Fadmin",
        "/api/%2e%2e%2fadmin",
        "/api/a%2f..%2fadmin",
        "/api/;x/admin",
        "/api../admin",
        "/api%2e%2e/admin",
        "/api/../../admin",
    ];
    let mut refused = 0;
    for change in &changes {
        let rewrite = Rewrite {
            host: None,
            path: Some(change.clone()),
        };
        let policy = filters([Filter::Rewrite(rewrite)]);
        let gateway = Gateway::start(Routes::all_to(&[backend.address()]).policy(policy));
        for path in spellings {
            let before = backend.requests().len();
            let answer = ask_once(&gateway, false, Ask { path, ..GET }).await;
            match answer.status {
                400 => {
                    assert_eq!(backend.requests().len(), before, "{path}");
                    refused += 1;
                }
                200 => {
                    let arrived = backend.last().target().to_owned();
                    // A name that begins with dots is a name.
                    let harmless = ["/api../admin", "/public/%2Fadmin", "/public/%5Cadmin"];
                    assert!(
                        harmless.contains(&&*arrived),
                        "{change}: {path} is {arrived}"
                    );
                }
                status => panic!("{path}: {status}"),
            }
        }
    }
    assert_eq!(refused, 34);
}

#[tokio::test]
async fn redirects_that_lead_nowhere_else_let_requests_pass() {
    let backend = Backend::hello("hi").await;
    let routes = |host, path| {
        let redirect = Redirect {
            scheme: None,
            host,
            port: Some(80),
            path,
            status: 308,
        };
        Routes::all_to(&[backend.address()]).policy(filters([Filter::Redirect(redirect)]))
    };
    let old = || Some(regex("^/old/(.*)$", "/new/$1"));
    let gateway = Gateway::start(routes(Some(RedirectHost::WithWww), old()));
    for http2 in [false, true] {
        for answer in ask(
            &gateway,
            http2,
            Ask {
                path: "/old/a?b",
                ..GET
            },
        )
        .await
        {
            assert_eq!(answer.status, 308);
            assert_eq!(answer.all("location"), ["http://www.example.com/new/a?b"]);
        }
    }
    assert_eq!(backend.requests().len(), 0);
    gateway.publish(routes(Some(RedirectHost::WithoutWww), old()));
    for http2 in [false, true] {
        for answer in ask(
            &gateway,
            http2,
            Ask {
                path: "/new/a?b",
                ..GET
            },
        )
        .await
        {
            assert_eq!((answer.status, &*answer.body), (200, "hi"));
        }
        assert_eq!(backend.last().target(), "/new/a?b");
    }
    assert_eq!(backend.requests().len(), 4);
}
