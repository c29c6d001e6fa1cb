use http::Method;
use serde_json::json;

use super::{
    super::tests::{head, oidc, secrets, session},
    *,
};

fn origin(url: &str) -> Origin {
    let (scheme, host) = url.split_once("://").unwrap();
    Origin::of(&head(Method::GET, &[("Host", host)]), scheme == "https").unwrap()
}

/// What a browser does with cookies that it is given.
#[derive(Clone, Default)]
struct Browser(Vec<(String, String)>);

impl Browser {
    fn take(&mut self, cookies: &[String]) {
        for cookie in cookies {
            assert!(cookie.len() <= 4096, "{}", cookie.len());
            let (pair, attributes) = cookie.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.0.retain(|(it, _)| it != name);
            if !attributes.contains("Max-Age=0;") {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in &self.0 {
            fields.append("Cookie", format!("{name}={value}").as_bytes());
        }
        fields
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| &**name).collect()
    }
}

#[test]
fn a_browser_gives_back_the_session_that_it_was_given() {
    let (oidc, secrets) = (oidc(), secrets(1));
    let mut ran = 0;
    for url in ["https://a.test", "http://a.test:8080"] {
        let origin = origin(url);
        let cookies = Cookies::new(&oidc, &secrets, &origin).unwrap();
        let mut browser = Browser::default();
        // Larger and smaller ones, each in place of the one before.
        for (length, pieces) in [(10, 1), (4000, 2), (11_000, 4), (4000, 2), (10, 1)] {
            let session = session(json!({"groups": "g".repeat(length)}));
            let kept = cookies.keep(&session, &browser.fields(), 1100).unwrap();
            for cookie in &kept {
                let secure = origin.secure;
                assert_eq!(cookie.starts_with("__Host-ferrix-"), secure, "{cookie}");
                assert_eq!(cookie.ends_with("; Secure"), secure, "{cookie}");
                assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
                assert!(
                    !cookie.contains("gggggggg") && !cookie.contains("Domain"),
                    "{cookie}"
                );
            }
            assert!(kept[0].contains("; Path=/; Max-Age=3500;"), "{}", kept[0]);
            browser.take(&kept);
            assert_eq!(browser.0.len(), pieces, "{length}");
            assert_eq!(cookies.session(&browser.fields()), Some(session));
            ran += 1;
        }
        assert!(
            cookies
                .keep(
                    &session(json!({"a": "g".repeat(12_000)})),
                    &browser.fields(),
                    1
                )
                .is_none()
        );
        browser.take(&cookies.end(&browser.fields()));
        assert!(browser.0.is_empty());
    }
    assert_eq!(ran, 10);
}

#[test]
fn cookies_from_elsewhere_are_none() {
    let (oidc, secrets) = (oidc(), secrets(1));
    let origin = origin("https://a.test");
    let cookies = Cookies::new(&oidc, &secrets, &origin).unwrap();
    let session = session(json!({"groups": "g".repeat(4000)}));
    let mut browser = Browser::default();
    browser.take(&cookies.keep(&session, &Fields::default(), 1000).unwrap());
    let value = |name: &str| {
        let found = browser.0.iter().find(|(it, _)| it == name);
        found.map(|(_, value)| value.clone()).unwrap()
    };
    let others = [
        Oidc {
            issuer: "https://other.example".into(),
            ..oidc.clone()
        },
        Oidc {
            client_id: "other".into(),
            ..oidc.clone()
        },
        Oidc {
            callback_path: "/other".into(),
            ..oidc.clone()
        },
        Oidc {
            scopes: [].into(),
            ..oidc.clone()
        },
        Oidc {
            scopes: ["email".into(), "groups".into()].into(),
            ..oidc.clone()
        },
        Oidc {
            required: [].into(),
            ..oidc.clone()
        },
    ];
    let mut ran = 0;
    for mut other in others {
        other.prepared = Default::default();
        let there = Cookies::new(&other, &secrets, &origin).unwrap();
        assert_ne!(there.name(), cookies.name());
        // Under the names that it has there.
        let moved = Browser(vec![
            (there.piece(0), value(&cookies.piece(0))),
            (there.piece(1), value(&cookies.piece(1))),
        ]);
        assert_eq!(there.session(&moved.fields()), None);
        ran += 1;
    }
    assert_eq!(ran, 6);
    // Who may pass is another question than whom one asks: those share a session.
    let stricter = Oidc {
        leeway: Default::default(),
        lifetime: std::time::Duration::from_secs(60),
        ..oidc.clone()
    };
    let there = Cookies::new(&stricter, &secrets, &origin).unwrap();
    assert_eq!(there.session(&browser.fields()), Some(session.clone()));
    let other_origin = self::origin("https://b.test");
    let other_host = Cookies::new(&oidc, &secrets, &other_origin).unwrap();
    assert_eq!(other_host.session(&browser.fields()), None);
    let other_key = self::secrets(2);
    let other_key = Cookies::new(&oidc, &other_key, &origin).unwrap();
    assert_eq!(other_key.session(&browser.fields()), None);
    // A piece that is missing, exchanged, or one too many.
    for (first, second) in [
        (value(&cookies.piece(0)), String::new()),
        (value(&cookies.piece(0)), "AAAA".to_owned()),
        (
            value(&cookies.piece(0)).replacen("2.", "1.", 1),
            String::new(),
        ),
        (
            value(&cookies.piece(0)).replacen("2.", "99999999.", 1),
            value(&cookies.piece(1)),
        ),
        (
            value(&cookies.piece(0)).replacen("2.", "", 1),
            value(&cookies.piece(1)),
        ),
    ] {
        let broken = Browser(vec![(cookies.piece(0), first), (cookies.piece(1), second)]);
        assert_eq!(cookies.session(&broken.fields()), None);
        ran += 1;
    }
    // A login is no session.
    let (state, login) = Login::begin(b"/", 1000);
    let begun = cookies.begin(&state, &login, &Fields::default(), 1000);
    let sealed = begun[0].split(['=', ';']).nth(1).unwrap();
    let forged = Browser(vec![(cookies.piece(0), format!("1.{sealed}"))]);
    assert_eq!(cookies.session(&forged.fields()), None);
    assert_eq!(ran, 11);
}

#[test]
fn each_login_of_a_browser_has_a_cookie_and_the_oldest_give_way() {
    let (oidc, secrets) = (oidc(), secrets(1));
    let origin = origin("https://a.test");
    let cookies = Cookies::new(&oidc, &secrets, &origin).unwrap();
    let mut browser = Browser::default();
    // What is none gives way first.
    browser.take(&[format!("{}=x; Path=/", cookies.login_name(&"x".repeat(22)))]);
    let mut begun = Vec::new();
    for number in 0..10 {
        let (state, login) = Login::begin(format!("/{number}").as_bytes(), 1000 + number);
        browser.take(&cookies.begin(&state, &login, &browser.fields(), 1000 + number));
        assert!(browser.0.len() <= MOST_LOGINS);
        begun.push((state, login));
    }
    let there =
        |(state, _): &(State, Login)| cookies.login(state, &browser.fields(), 1010).is_some();
    let there: Vec<_> = begun.iter().map(there).collect();
    assert_eq!(there, [&[false; 2][..], &[true; 8][..]].concat());
    for (state, login) in &begun[2..] {
        assert_eq!(
            cookies.login(state, &browser.fields(), 1010).as_ref(),
            Some(login)
        );
        assert_eq!(cookies.login(state, &browser.fields(), 9999), None);
    }
    // The cookie of one login under the name of another.
    let (one, other) = (&begun[8].0, &begun[9].0);
    let (name, value) = (
        cookies.login_name(one.as_str()),
        cookies.login_name(other.as_str()),
    );
    let value = browser
        .0
        .iter()
        .find(|(it, _)| *it == value)
        .unwrap()
        .1
        .clone();
    let swapped = Browser(vec![(name, value)]);
    assert_eq!(cookies.login(one, &swapped.fields(), 1010), None);
    browser.take(&[cookies.finish(one)]);
    assert_eq!(cookies.login(one, &browser.fields(), 1010), None);
    assert_eq!(browser.0.len(), MOST_LOGINS - 1);
}

#[test]
fn services_do_not_see_them() {
    let (oidc, secrets) = (oidc(), secrets(1));
    let origin = origin("https://a.test");
    let cookies = Cookies::new(&oidc, &secrets, &origin).unwrap();
    let session = session(json!({"groups": "g".repeat(4000)}));
    let mut browser = Browser(vec![("mine".to_owned(), "1".to_owned())]);
    browser.take(&cookies.keep(&session, &Fields::default(), 1000).unwrap());
    let (state, login) = Login::begin(b"/", 1000);
    browser.take(&cookies.begin(&state, &login, &browser.fields(), 1000));
    browser.take(&[format!("{}x=1; Path=/", cookies.name())]);
    browser.take(&[format!("{}=1; Path=/", cookies.binding.name)]);
    assert_eq!(browser.names().len(), 6);
    let mut fields = browser.fields();
    cookies.take_out(&mut fields);
    let kept = format!("mine=1; {}x=1", cookies.name());
    assert_eq!(
        fields.get_all("cookie").collect::<Vec<_>>(),
        [kept.as_bytes()]
    );
}
