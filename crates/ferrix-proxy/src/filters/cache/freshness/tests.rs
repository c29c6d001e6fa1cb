use http::StatusCode;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

const TERMS: CacheTerms = CacheTerms {
    max_object_bytes: 1000,
    default_ttl: Duration::ZERO,
    stale_while_revalidate: Duration::ZERO,
    stale_if_error: Duration::ZERO,
};

const NOBODY: Personal = Personal {
    credentials: false,
    cookies: false,
};

/// 2001-09-09 01:46:40.
fn clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

fn dated(seconds: i64) -> String {
    let offset = Duration::from_secs(seconds.unsigned_abs());
    let time = match seconds < 0 {
        true => clock() - offset,
        false => clock() + offset,
    };
    httpdate::fmt_http_date(time)
}

fn response(status: u16, lines: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
    for (name, value) in lines {
        head.fields.append(name, value.as_bytes());
    }
    head
}

fn fields(lines: &[(&str, &str)]) -> Fields {
    response(200, lines).fields
}

fn at(came: Instant) -> Fetched {
    Fetched {
        asked: came,
        came,
        clock: clock(),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How long a response to a request with these is fresh; `None`: it is not kept.
fn fresh_for(personal: Personal, terms: &CacheTerms, head: &ResponseHead) -> Option<i64> {
    let now = Instant::now();
    Some(Freshness::of(terms, personal, head, at(now))?.ttl(now))
}

#[test]
fn which_responses_are_kept_and_how_long() {
    let control = |value| ("Cache-Control", value);
    let (now, in_a_minute, before) = (dated(0), dated(60), dated(-20));
    type Case<'c> = (u16, &'c [(&'c str, &'c str)], Option<i64>);
    let cases: &[Case<'_>] = &[
        (200, &[], None),
        (200, &[control("max-age=60")], Some(60)),
        (200, &[control("Max-Age=\"60\" , PUBLIC")], Some(60)),
        (200, &[control("max-age=60, s-maxage=5")], Some(5)),
        (200, &[control("max-age=60"), control("max-age=5")], Some(5)),
        (
            200,
            &[control("max-age=99999999999999999999")],
            Some(1 << 31),
        ),
        (200, &[control("max-age=1.5")], None),
        (200, &[control("max-age=-1")], None),
        (200, &[control("max-age=60, No-Store")], None),
        (200, &[control("max-age=60, no-cache")], None),
        (200, &[control("max-age=60, private")], None),
        (200, &[control("private=\"x, y\", max-age=60")], None),
        (
            200,
            &[control("x=\"no-store, private\", max-age=60")],
            Some(60),
        ),
        (200, &[control("public")], None),
        (
            200,
            &[("Pragma", "no-cache"), ("Expires", &in_a_minute)],
            None,
        ),
        (200, &[("Expires", &in_a_minute)], Some(60)),
        (200, &[("Expires", &in_a_minute), ("Date", &now)], Some(60)),
        (200, &[("Expires", "0")], None),
        (
            200,
            &[("Expires", &in_a_minute), control("max-age=5")],
            Some(5),
        ),
        (200, &[control("max-age=60"), ("Age", "50")], Some(10)),
        (200, &[control("max-age=60"), ("Date", &before)], Some(40)),
        (200, &[control("max-age=60"), ("Age", "60")], None),
        (200, &[control("max-age=60"), ("Vary", "Accept, *")], None),
        (200, &[control("max-age=60"), ("Vary", "Accept")], Some(60)),
        (200, &[control("max-age=60"), ("Set-Cookie", "a=b")], None),
        (404, &[control("max-age=60")], Some(60)),
        (206, &[control("max-age=60")], None),
        (304, &[control("max-age=60")], None),
        (500, &[control("max-age=60")], None),
        (200, &[control("max-age=0, stale-if-error=60")], Some(0)),
    ];
    for (status, lines, expected) in cases {
        let found = fresh_for(NOBODY, &TERMS, &response(*status, lines));
        assert_eq!(found, *expected, "{status} {lines:?}");
    }
    assert_eq!(cases.len(), 30);
}

#[test]
fn what_says_nothing_is_kept_where_that_is_asked_for() {
    let terms = CacheTerms {
        default_ttl: seconds(30),
        ..TERMS
    };
    let cookies = Personal {
        cookies: true,
        ..NOBODY
    };
    type Case<'c> = (u16, &'c [(&'c str, &'c str)], Personal, Option<i64>);
    let cases: [Case<'_>; 6] = [
        (200, &[], NOBODY, Some(30)),
        (404, &[], NOBODY, None),
        (200, &[], cookies, None),
        (200, &[("Cache-Control", "max-age=5")], NOBODY, Some(5)),
        (200, &[("Cache-Control", "max-age=5")], cookies, Some(5)),
        (200, &[("Cache-Control", "no-store")], NOBODY, None),
    ];
    for (status, lines, personal, expected) in cases {
        let found = fresh_for(personal, &terms, &response(status, lines));
        assert_eq!(found, expected, "{status} {lines:?} {personal:?}");
    }
    // And is not for those who bring a cookie.
    let now = Instant::now();
    let freshness = Freshness::of(&terms, NOBODY, &response(200, &[]), at(now)).unwrap();
    let asked = Directives::default();
    assert_eq!(freshness.use_for(&asked, cookies, now), Use::No);
    assert_eq!(freshness.use_for(&asked, NOBODY, now), Use::Fresh);
}

#[test]
fn who_brings_credentials_gets_what_is_for_all() {
    let authorized = Personal {
        credentials: true,
        cookies: false,
    };
    for (said, shared) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", true),
        ("s-maxage=60", true),
    ] {
        let head = response(200, &[("Cache-Control", said)]);
        let kept = fresh_for(authorized, &TERMS, &head).is_some();
        assert_eq!(kept, shared, "{said}");
        let now = Instant::now();
        let freshness = Freshness::of(&TERMS, NOBODY, &head, at(now)).unwrap();
        let used = freshness.use_for(&Directives::default(), authorized, now);
        assert_eq!(used == Use::Fresh, shared, "{said}");
    }
}

#[test]
fn stale_responses_have_their_uses() {
    let now = Instant::now();
    let terms = CacheTerms {
        stale_while_revalidate: seconds(10),
        stale_if_error: seconds(20),
        ..TERMS
    };
    let cases = [
        ("max-age=60", 60, Use::WhileRevalidated, true),
        ("max-age=60", 69, Use::WhileRevalidated, true),
        ("max-age=60", 70, Use::AfterValidation, true),
        ("max-age=60", 80, Use::AfterValidation, false),
        (
            "max-age=60, stale-while-revalidate=1",
            61,
            Use::AfterValidation,
            true,
        ),
        (
            "max-age=60, stale-if-error=1",
            60,
            Use::WhileRevalidated,
            true,
        ),
        (
            "max-age=60, stale-if-error=1",
            61,
            Use::WhileRevalidated,
            false,
        ),
        (
            "max-age=60, must-revalidate",
            60,
            Use::AfterValidation,
            false,
        ),
        (
            "max-age=60, proxy-revalidate, stale-if-error=9",
            60,
            Use::AfterValidation,
            false,
        ),
        ("s-maxage=60", 60, Use::AfterValidation, false),
        (
            "s-maxage=60, stale-while-revalidate=9",
            61,
            Use::WhileRevalidated,
            false,
        ),
    ];
    for (said, later, used, helps) in cases {
        let head = response(200, &[("Cache-Control", said)]);
        let freshness = Freshness::of(&terms, NOBODY, &head, at(now)).unwrap();
        let later = now + seconds(later);
        let found = freshness.use_for(&Directives::default(), NOBODY, later);
        assert_eq!(found, used, "{said}");
        assert_eq!(freshness.helps_on_error(later), helps, "{said}");
    }
    assert_eq!(cases.len(), 11);
}

#[test]
fn a_request_may_ask_for_less() {
    let now = Instant::now();
    let head = response(200, &[("Cache-Control", "max-age=60"), ("Age", "10")]);
    let freshness = Freshness::of(&TERMS, NOBODY, &head, at(now)).unwrap();
    let cases = [
        ("", Use::Fresh),
        ("no-cache", Use::AfterValidation),
        ("max-age=0", Use::AfterValidation),
        ("max-age=9", Use::AfterValidation),
        ("max-age=10", Use::Fresh),
        ("min-fresh=50", Use::Fresh),
        ("min-fresh=51", Use::AfterValidation),
        ("min-fresh=99999999999999999999", Use::AfterValidation),
    ];
    for (asked, expected) in cases {
        let asked = Directives::of(&fields(&[("Cache-Control", asked)]));
        assert_eq!(
            freshness.use_for(&asked, NOBODY, now),
            expected,
            "{asked:?}"
        );
    }
    assert_eq!(cases.len(), 8);
    let asked = Directives::of(&fields(&[("Pragma", "no-cache")]));
    assert_eq!(freshness.use_for(&asked, NOBODY, now), Use::AfterValidation);
}

#[test]
fn the_time_on_the_way_counts() {
    let came = Instant::now();
    let fetched = Fetched {
        asked: came - seconds(3),
        ..at(came)
    };
    let head = response(200, &[("Cache-Control", "max-age=60"), ("Age", "10")]);
    let freshness = Freshness::of(&TERMS, NOBODY, &head, fetched).unwrap();
    assert_eq!(freshness.age(came + seconds(5)), seconds(18));
}

/// What a response says of itself.
#[derive(Clone, Debug)]
struct Said {
    numbers: Vec<(&'static str, u64)>,
    flags: Vec<&'static str>,
    expires: Option<i64>,
    date: Option<i64>,
    age: Option<u64>,
}

fn said() -> impl Strategy<Value = Said> {
    let names = [
        "max-age",
        "s-maxage",
        "stale-while-revalidate",
        "stale-if-error",
    ];
    let flags = [
        "public",
        "private",
        "no-store",
        "no-cache",
        "must-revalidate",
        "proxy-revalidate",
        "immutable",
    ];
    (
        vec((select(names.to_vec()), 0_u64..100), 0..4),
        vec(select(flags.to_vec()), 0..2),
        option::of(-50_i64..100),
        option::of(-50_i64..50),
        option::of(0_u64..100),
    )
        .prop_map(|(numbers, flags, expires, date, age)| Said {
            numbers,
            flags,
            expires,
            date,
            age,
        })
}

impl Said {
    fn least(&self, name: &str) -> Option<u64> {
        let numbers = self.numbers.iter().filter(|(it, _)| *it == name);
        numbers.map(|(_, number)| *number).min()
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// The rule of the RFC in whole seconds: lifetime, age, and the two times for which it is good when
    /// stale. `None`: it is not kept.
    fn model(&self) -> Option<[i64; 4]> {
        if self.has("private") || self.has("no-store") || self.has("no-cache") {
            return None;
        }
        let whole = |number: u64| i64::try_from(number).unwrap();
        let lifetime = match (self.least("s-maxage"), self.least("max-age"), self.expires) {
            (Some(shared), _, _) => whole(shared),
            (None, Some(max), _) => whole(max),
            (None, None, Some(expires)) => (expires - self.date.unwrap_or(0)).max(0),
            (None, None, None) => return None,
        };
        let apparent = self.date.map_or(0, |date| (-date).max(0));
        let age = apparent.max(whole(self.age.unwrap_or(0)));
        let strict = self.has("must-revalidate") || self.has("proxy-revalidate");
        let stale = |name: &str| match (strict, self.least(name)) {
            (false, Some(said)) => whole(said),
            _ => 0,
        };
        let (revalidated, error) = (stale("stale-while-revalidate"), stale("stale-if-error"));
        (age < lifetime + revalidated.max(error)).then_some([lifetime, age, revalidated, error])
    }
}

proptest! {
    #[test]
    fn freshness_follows_the_rule(said in said(), later in 0_i64..200) {
        let mut head = response(200, &[]);
        let numbers = said.numbers.iter().map(|(name, number)| format!("{name}={number}"));
        let flags = said.flags.iter().map(|it| (*it).to_owned());
        for directive in numbers.chain(flags) {
            head.fields.append("Cache-Control", directive.as_bytes());
        }
        let dates = [("Expires", said.expires), ("Date", said.date)];
        for (name, date) in dates.into_iter().filter_map(|(name, it)| Some((name, it?))) {
            head.fields.append(name, dated(date).as_bytes());
        }
        if let Some(age) = said.age {
            head.fields.append("Age", age.to_string().as_bytes());
        }
        let now = Instant::now();
        let found = Freshness::of(&TERMS, NOBODY, &head, at(now));
        let Some([lifetime, age, revalidated, error]) = said.model() else {
            prop_assert_eq!(found, None);
            return Ok(());
        };
        let found = found.expect("it is kept");
        let then = now + seconds(later.unsigned_abs());
        let left = lifetime - age - later;
        prop_assert_eq!(found.ttl(then), left);
        let expected = match left {
            1.. => Use::Fresh,
            left if -left < revalidated => Use::WhileRevalidated,
            _ => Use::AfterValidation,
        };
        prop_assert_eq!(found.use_for(&Directives::default(), NOBODY, then), expected);
        prop_assert_eq!(found.helps_on_error(then), left + error > 0);
    }

    /// Whatever stands there is read, and only numbers count.
    #[test]
    fn any_text_is_read(text in "[ -~]{0,60}") {
        let directives = Directives::of(&fields(&[("Cache-Control", &text)]));
        let digits = text.bytes().any(|byte| byte.is_ascii_digit());
        prop_assert!(digits || directives.max_age.unwrap_or(0) == 0);
    }
}
