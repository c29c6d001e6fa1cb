//! A script of what is at a URL on one side, and the table and the report on the other. Time passes as soon as
//! everybody waits.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use ferrix_table::{
    Reader,
    filters::{Filter, jwt::Jwt},
    publish,
    table::EntryPoint,
};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinHandle};

use super::*;
use crate::{
    compiler::Compiler,
    decode::{Decoded, Strictness, decode},
    objects::{Kind, Origin, key},
    settings::Settings,
};

/// Far more than all of what is waited for here.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

const URL: &str = "https://id.example/keys?of=issuer";

/// What a fetch comes to.
#[derive(Clone)]
enum Say {
    Text(String),
    Failure(&'static str),
    Nothing,
    Panic,
}

/// Whoever has keys: every fetch comes to what it is told last.
struct Issuer {
    says: Mutex<Say>,
    fetches: AtomicUsize,
    asked: Mutex<BTreeSet<String>>,
}

impl Issuer {
    fn new(says: Say) -> Arc<Self> {
        Arc::new(Self {
            says: Mutex::new(says),
            fetches: AtomicUsize::new(0),
            asked: Mutex::default(),
        })
    }

    fn says(&self, say: Say) {
        *self.says.lock().unwrap() = say;
    }

    fn has(&self, kid: &str) {
        self.says(has(kid));
    }

    fn fetches(&self) -> usize {
        self.fetches.load(SeqCst)
    }
}

impl KeyFetcher for Issuer {
    async fn fetch(&self, url: &str) -> Result<String, String> {
        self.fetches.fetch_add(1, SeqCst);
        self.asked.lock().unwrap().insert(url.to_owned());
        let says = self.says.lock().unwrap().clone();
        match says {
            Say::Text(text) => Ok(text),
            Say::Failure(why) => Err(why.to_owned()),
            Say::Nothing => std::future::pending().await,
            Say::Panic => panic!("as the test wants it"),
        }
    }
}

/// A set with one key.
fn has(kid: &str) -> Say {
    let x = "A".repeat(43);
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x}]});
    Say::Text(set.to_string())
}

/// A route with tokens by keys of a URL, and what becomes of it.
struct Rig {
    compiler: Compiler,
    reader: Reader,
    fetched: mpsc::UnboundedReceiver<Change>,
    fetches: Arc<KeyFetches>,
    follower: JoinHandle<()>,
}

impl Rig {
    fn start(issuer: &Arc<Issuer>) -> Self {
        let (publisher, reader) = publish::channel();
        let settings = Settings::new(vec![EntryPoint::http("web")]);
        let mut compiler = Compiler::new(settings, publisher);
        let fetches = Arc::new(KeyFetches::default());
        let (tell, fetched) = mpsc::unbounded_channel();
        let tell = move |change| _ = tell.send(change);
        let follower = follow(
            Arc::clone(issuer),
            compiler.key_urls(),
            Arc::clone(&fetches),
            tell,
        );
        let follower = tokio::spawn(follower);
        compiler.apply([route(URL)]);
        compiler.loaded();
        Self {
            compiler,
            reader,
            fetched,
            fetches,
            follower,
        }
    }

    /// Takes in what comes until it is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                let change = self.fetched.recv().await.expect("the fetches go on");
                self.compiler.apply([change]);
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("not {what}: {:?}, {}", self.kid(), self.said());
        }
    }

    fn jwt(&self) -> Option<Arc<Jwt>> {
        let table = self.reader.load();
        let policies = table.rules.iter().filter_map(|rule| rule.policy.clone());
        let filters: Vec<_> = policies
            .flat_map(|policy| policy.filters().cloned().collect::<Vec<_>>())
            .collect();
        filters.into_iter().find_map(|filter| match filter {
            Filter::Jwt(jwt) => Some(jwt),
            _ => None,
        })
    }

    /// The name of the key that tokens are verified with.
    fn kid(&self) -> Option<String> {
        let jwt = self.jwt()?;
        let keys = jwt.keys().ok()?;
        keys.keys[0].id.as_deref().map(str::to_owned)
    }

    fn has(&self, kid: &str) -> bool {
        self.kid().as_deref() == Some(kid)
    }

    /// A token names a key that is not known.
    fn miss(&self) {
        let jwt = self.jwt().unwrap();
        let ferrix_table::filters::jwt::KeySource::Url { renewal, .. } = &jwt.keys else {
            panic!("{jwt}");
        };
        renewal.ask();
    }

    fn said(&self) -> String {
        self.compiler.reports().borrow().to_string()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

fn route(url: &str) -> Change {
    let value = json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {"name": "r", "namespace": "default"},
        "spec": {"route": {"host": "a.example", "rules": [{
            "filters": [{"jwt": {"jwks": {"url": url}}}, {"respond": {"status": 200}}],
        }]}},
    });
    match decode(&value, Strictness::Api) {
        Ok(Decoded::Object { object, .. }) => Change::Apply {
            object,
            origin: Origin::Api,
            notes: Vec::new(),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn keys_follow_their_url_and_the_last_good_ones_stay() {
    let issuer = Issuer::new(has("a"));
    let mut rig = Rig::start(&issuer);
    assert_eq!(rig.reader.generation(), 0, "the first table waits for them");
    rig.until("fetched", |rig| rig.has("a")).await;
    assert_eq!(rig.said(), "");
    assert_eq!(*issuer.asked.lock().unwrap(), [URL.to_owned()].into());

    let text = |text: &str| Say::Text(text.to_owned());
    let troubles = [
        (Say::Failure("it answers 404"), "it answers 404"),
        (Say::Nothing, "no whole answer in time"),
        (Say::Panic, "a bug of Ferrix"),
        (text("<html>"), "it is no JSON"),
        (text("{}"), "it has no list `keys`"),
        (text("{\"keys\": []}"), "it has no key"),
    ];
    let mut cases = 0;
    for (trouble, words) in troubles {
        issuer.says(trouble);
        rig.until(words, |rig| rig.said().contains(words)).await;
        assert!(
            rig.said().contains("those fetched last serve on"),
            "{}",
            rig.said()
        );
        assert!(rig.has("a"), "{words}");
        issuer.has("a");
        rig.until("well again", |rig| rig.said().is_empty()).await;
        cases += 1;
    }
    assert_eq!(cases, 6);
    assert!(rig.fetches.failed() >= 6 && rig.fetches.fetched() >= 7);

    // The old key goes when the new one comes.
    issuer.has("b");
    rig.until("rotated", |rig| rig.has("b")).await;
}

#[tokio::test(start_paused = true)]
async fn without_keys_nothing_passes_until_they_come() {
    let issuer = Issuer::new(Say::Text("{}".to_owned()));
    let mut rig = Rig::start(&issuer);
    rig.until("published", |rig| rig.reader.generation() > 0)
        .await;
    assert!(rig.jwt().unwrap().keys().is_err());
    let said = rig.said();
    assert!(said.contains("requests get 503"), "{said}");
    issuer.has("a");
    rig.until("fetched", |rig| rig.has("a")).await;
    assert_eq!(rig.said(), "");
    // Nobody names them any more.
    rig.compiler
        .apply([Change::Remove(key(Kind::IngressRoute, "default", "r"))]);
    let world = |rig: &Rig| rig.compiler.world().all_keys().count();
    rig.until("forgotten", |rig| world(rig) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_missed_is_fetched_at_once_and_seldom() {
    let issuer = Issuer::new(has("a"));
    let mut rig = Rig::start(&issuer);
    rig.until("fetched", |rig| rig.has("a")).await;
    assert_eq!(issuer.fetches(), 1);
    let begun = Instant::now();
    issuer.has("b");
    for _ in 0..1000 {
        rig.miss();
    }
    rig.until("rotated", |rig| rig.has("b")).await;
    assert_eq!((issuer.fetches(), begun.elapsed()), (2, Duration::ZERO));
    // Another one is not fetched before it has cooled down, whoever asks how often.
    issuer.has("c");
    for _ in 0..1000 {
        rig.miss();
    }
    rig.until("rotated again", |rig| rig.has("c")).await;
    assert_eq!(issuer.fetches(), 3);
    assert_eq!(begun.elapsed().as_secs(), COOLDOWN.as_secs());
}
