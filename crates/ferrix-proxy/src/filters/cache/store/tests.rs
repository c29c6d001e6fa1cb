use std::time::SystemTime;

use ferrix_table::filters::cache::CacheTerms;
use http::StatusCode;

use super::{
    super::freshness::{Fetched, Personal},
    *,
};

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in lines {
        fields.append(name, value.as_bytes());
    }
    fields
}

fn stored(lines: &[(&str, &str)], request: &Fields, body: &[u8]) -> Stored {
    let mut head = ResponseHead::new(StatusCode::OK);
    head.fields.append("Cache-Control", b"max-age=60");
    for (name, value) in lines {
        head.fields.append(name, value.as_bytes());
    }
    let terms = CacheTerms {
        max_object_bytes: 1 << 20,
        default_ttl: Duration::ZERO,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };
    let fetched = Fetched {
        asked: Instant::now(),
        came: Instant::now(),
        clock: SystemTime::now(),
    };
    let freshness = Freshness::of(&terms, Personal::default(), &head, fetched).unwrap();
    Stored::new(head, Bytes::copy_from_slice(body), freshness, request)
}

fn found(store: &Store, key: &str, request: &Fields) -> Option<Bytes> {
    match store.find(key.as_bytes(), request, Instant::now()) {
        Found::Kept(stored) => Some(stored.body.clone()),
        Found::Nothing | Found::NotKept => None,
    }
}

fn key(text: &str) -> Key {
    text.as_bytes().into()
}

#[test]
fn memory_is_flat_however_many_there_are() {
    let store = Store::new(1 << 20, 64 << 10, 0);
    let nobody = Fields::default();
    let body = vec![7; 4096];
    let mut most = 0;
    for number in 0..10_000 {
        let name = format!("/{number}");
        store.keep(&key(&name), stored(&[], &nobody, &body), 0);
        most = most.max(store.entries.weight());
    }
    assert!(most <= 1 << 20, "{most}");
    assert!(most > 1 << 19, "{most}");
    let kept = (0..10_000).filter(|it| found(&store, &format!("/{it}"), &nobody).is_some());
    let kept = kept.count();
    assert!((100..256).contains(&kept), "{kept}");
    store.follow(1 << 18, 0);
    assert!(store.entries.weight() <= 1 << 18);
}

#[test]
fn responses_are_told_apart_by_what_they_vary_by() {
    let store = Store::new(1 << 20, 1 << 10, 0);
    let varies = [("Vary", "Accept-Language"), ("Vary", "X-A, X-B")];
    let german = fields(&[("Accept-Language", "de, en"), ("X-A", "1")]);
    let same = fields(&[
        ("X-A", "1"),
        ("accept-language", "de"),
        ("Accept-Language", "en"),
    ]);
    let english = fields(&[("Accept-Language", "en, de"), ("X-A", "1")]);
    store.keep(&key("/"), stored(&varies, &german, b"Hallo"), 0);
    store.keep(&key("/"), stored(&varies, &english, b"Hello"), 0);
    assert_eq!(found(&store, "/", &german).unwrap(), "Hallo");
    assert_eq!(found(&store, "/", &same).unwrap(), "Hallo");
    assert_eq!(found(&store, "/", &english).unwrap(), "Hello");
    assert_eq!(found(&store, "/", &Fields::default()), None);
    store.keep(&key("/"), stored(&varies, &same, b"Servus"), 0);
    assert_eq!(found(&store, "/", &german).unwrap(), "Servus");
    for number in 0..100 {
        let request = fields(&[("X-A", &number.to_string())]);
        store.keep(&key("/"), stored(&varies, &request, b"x"), 0);
    }
    let Some(Entry::Kept(all)) = store.entries.peek(&key("/")) else {
        panic!("the entry is gone");
    };
    assert_eq!(all.len(), VARIANTS);
    // One that is no longer good leaves the others where they are.
    let newest = fields(&[("X-A", "99")]);
    store.pass_by(&key("/"), Some(&all[0]), Instant::now());
    assert_eq!(found(&store, "/", &newest), None);
    assert!(found(&store, "/", &fields(&[("X-A", "98")])).is_some());
}

#[test]
fn a_purge_forgets_what_came_before_it() {
    let store = Store::new(1 << 20, 1 << 10, 1);
    let nobody = Fields::default();
    store.keep(&key("/a"), stored(&[], &nobody, b"a"), 1);
    store.follow(1 << 20, 1);
    assert!(found(&store, "/a", &nobody).is_some());
    store.follow(1 << 20, 2);
    assert_eq!(found(&store, "/a", &nobody), None);
    // Which was asked for before.
    store.keep(&key("/a"), stored(&[], &nobody, b"a"), 1);
    assert_eq!(found(&store, "/a", &nobody), None);
    store.keep(&key("/a"), stored(&[], &nobody, b"a"), 2);
    assert!(found(&store, "/a", &nobody).is_some());
    store.forget(b"/a");
    assert_eq!(found(&store, "/a", &nobody), None);
}

#[tokio::test]
async fn one_fetches_and_the_others_wait() {
    let store = Arc::new(Store::new(1 << 20, 1 << 10, 0));
    let cases = [
        (Landing::Kept, false),
        (Landing::NotKept, true),
        (Landing::Failed, false),
    ];
    for (landing, in_vain) in cases {
        let Ok(lead) = store.board(b"/") else {
            panic!("nobody fetches it");
        };
        let Err(flight) = store.board(b"/") else {
            panic!("two fetch it");
        };
        assert!(store.board(b"/other").is_ok());
        match landing {
            // Its client has left.
            Landing::Failed => drop(lead),
            landing => lead.land(landing),
        }
        assert_eq!(flight.is_in_vain().await, in_vain, "{landing:?}");
    }
    // What changes meanwhile makes it void, and the next one fetches it.
    let lead = store.board(b"/").ok().unwrap();
    let flight = store.board(b"/").err().unwrap();
    store.forget(b"/");
    assert!(lead.is_void());
    assert!(!flight.is_in_vain().await);
    let next = store.board(b"/").ok().unwrap();
    drop(lead);
    assert!(store.board(b"/").is_err(), "the next one is still there");
    assert!(!next.is_void());
    drop(next);
    assert!(store.flights.lock().is_empty());
}

#[test]
fn that_something_is_not_kept_is_remembered_for_a_while() {
    let store = Store::new(1 << 20, 1 << 10, 0);
    let (nobody, now) = (Fields::default(), Instant::now());
    store.pass_by(&key("/"), None, now);
    assert!(matches!(store.find(b"/", &nobody, now), Found::NotKept));
    let later = now + NOT_KEPT;
    assert!(matches!(store.find(b"/", &nobody, later), Found::Nothing));
    store.keep(&key("/"), stored(&[], &nobody, b"a"), 0);
    assert!(found(&store, "/", &nobody).is_some());
}
