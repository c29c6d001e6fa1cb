//! A DNS server on loopback, or a script, on one side, and the table and the report on the other.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use ferrix_table::{Reader, publish, table::EntryPoint};
use hickory_resolver::{
    config::{ConnectionConfig, NameServerConfig},
    proto::{
        op::{Message, ResponseCode},
        rr::{Name, RData, Record, RecordType, rdata},
    },
    system_conf,
};
use serde_json::{Value, json};
use tokio::{
    net::UdpSocket,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::Instant,
};

use super::*;
use crate::{
    compiler::{Compiler, Published},
    decode::{Decoded, Strictness, decode},
    objects::{Key, Kind, Origin},
    report::{ConditionType, Reason},
    settings::Settings,
};

/// How many names are looked up at once.
fn at_once() -> usize {
    <Names<Dns, fn(Change)> as Subject>::AT_ONCE
}

/// Fast enough for tests, and each step still apart from the next.
const FAST: Pace = Pace {
    shortest: Duration::from_millis(30),
    longest: Duration::from_millis(60),
    first_pause: Duration::from_millis(10),
    longest_pause: Duration::from_millis(40),
};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the DNS server says of a name and a type.
#[derive(Clone, Debug)]
enum Say {
    /// These addresses, for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// An alias, for so many seconds; its addresses with it, for so many.
    Alias(&'static str, u32, Vec<IpAddr>, u32),
    Code(ResponseCode),
    Nothing,
}

/// A DNS server on loopback. What it has not heard of does not exist.
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<HashMap<(String, RecordType), Say>>>,
    /// Every name that was asked for.
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (zone, asked) = (Arc::default(), Arc::default());
        let server = Self {
            address,
            zone: Arc::clone(&zone),
            asked: Arc::clone(&asked),
            task: tokio::spawn(serve(socket, zone, asked)),
        };
        server.say(
            "db.example.org.",
            RecordType::A,
            Say::Code(ResponseCode::NXDomain),
        );
        server
    }

    fn say(&self, name: &str, kind: RecordType, say: Say) {
        let mut zone = self.zone.lock().unwrap();
        zone.insert((name.to_owned(), kind), say);
    }

    /// The same for both families.
    fn say_of_both(&self, name: &str, say: &Say) {
        self.say(name, RecordType::A, say.clone());
        self.say(name, RecordType::AAAA, say.clone());
    }

    fn addresses(&self, name: &str, ipv4: &[&str], ipv6: &[&str]) {
        for (kind, list) in [(RecordType::A, ipv4), (RecordType::AAAA, ipv6)] {
            let addresses = list.iter().map(|it| it.parse().unwrap()).collect();
            self.say(name, kind, Say::Addresses(addresses, 0));
        }
    }

    /// A resolver that asks it, configured by these lines besides.
    fn resolver(&self, lines: &str) -> Dns {
        let text = format!("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n{lines}");
        let (mut config, options) = system_conf::parse_resolv_conf(text).unwrap();
        let mut udp = ConnectionConfig::udp();
        udp.port = self.address.port();
        config.name_servers = vec![NameServerConfig::new(self.address.ip(), true, vec![udp])];
        Dns::asking(config, options)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    socket: UdpSocket,
    zone: Arc<Mutex<HashMap<(String, RecordType), Say>>>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    let mut packet = [0; 2048];
    loop {
        let (length, client) = socket.recv_from(&mut packet).await.unwrap();
        let request = Message::from_vec(&packet[..length]).unwrap();
        let query = request.queries[0].clone();
        let name = query.name().to_string();
        asked.lock().unwrap().push(name.clone());
        let say = zone
            .lock()
            .unwrap()
            .get(&(name, query.query_type()))
            .cloned();
        let mut response = Message::response(request.id, request.op_code);
        response.metadata.recursion_available = true;
        response.add_query(query.clone());
        let record = |name: &Name, address: IpAddr, ttl| {
            Record::from_rdata(name.clone(), ttl, RData::from(address))
        };
        match say {
            None => response.metadata.response_code = ResponseCode::NXDomain,
            Some(Say::Nothing) => continue,
            Some(Say::Code(code)) => response.metadata.response_code = code,
            Some(Say::Addresses(addresses, ttl)) => {
                let records = addresses.into_iter();
                response.add_answers(records.map(|it| record(query.name(), it, ttl)));
            }
            Some(Say::Alias(alias, ttl, addresses, address_ttl)) => {
                let alias = Name::from_ascii(alias).unwrap();
                let cname = RData::CNAME(rdata::CNAME(alias.clone()));
                response.add_answer(Record::from_rdata(query.name().clone(), ttl, cname));
                let records = addresses.into_iter();
                response.add_answers(records.map(|it| record(&alias, it, address_ttl)));
            }
        }
        let response = response.to_vec().unwrap();
        socket.send_to(&response, client).await.unwrap();
    }
}

/// A route to a Service that stands for a name, and what becomes of them.
struct Rig {
    compiler: Compiler,
    reader: Reader,
    looked_up: mpsc::UnboundedReceiver<Change>,
    lookups: Arc<Lookups>,
    follower: JoinHandle<()>,
}

impl Rig {
    fn start(resolver: impl Resolver, names: &[&str]) -> Self {
        let (publisher, reader) = publish::channel();
        let web = EntryPoint::http("web");
        let settings = Settings {
            allow_external_name: true,
            ..Settings::new(vec![web])
        };
        let mut compiler = Compiler::new(settings, publisher);
        let lookups = Arc::new(Lookups::default());
        let (tell, looked_up) = mpsc::unbounded_channel();
        let tell = move |change| _ = tell.send(change);
        let follower = Follower::new(Names {
            resolver: Arc::new(resolver),
            pace: FAST,
            lookups: Arc::clone(&lookups),
            tell,
        });
        let follower = tokio::spawn(follower.run(compiler.names()));
        for (place, name) in names.iter().enumerate() {
            compiler.apply(objects(&format!("s{place}"), name));
        }
        compiler.loaded();
        Self {
            compiler,
            reader,
            looked_up,
            lookups,
            follower,
        }
    }

    async fn next(&mut self) -> Published {
        let change = tokio::time::timeout(PATIENCE, self.looked_up.recv()).await;
        let change = change.expect("in time").expect("the lookups go on");
        self.compiler.apply([change])
    }

    /// Takes in what comes until it is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                let change = self.looked_up.recv().await.expect("the lookups go on");
                self.compiler.apply([change]);
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("not {what}: {:?}, {}", self.endpoints("s0"), self.said());
        }
    }

    fn endpoints(&self, service: &str) -> Vec<String> {
        let table = self.reader.load();
        let services = table
            .services
            .iter()
            .filter(|it| &*it.id.service.name == service);
        let endpoints = services.flat_map(|service| &service.endpoints);
        endpoints.map(|it| it.address.to_string()).collect()
    }

    /// Whether the route of a Service is ready, and why.
    fn ready(&self, service: &str) -> (bool, String) {
        let report = self.compiler.reports().borrow().clone();
        let entry = report.get(&Key::new(Kind::IngressRoute, "default", service));
        let entry = entry.expect("an entry");
        let ready = entry.condition(ConditionType::Ready).expect("a condition");
        (ready.status, ready.message.to_string())
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

fn objects(name: &str, external: &str) -> [Change; 2] {
    [
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "ExternalName", "externalName": external},
        }),
        json!({
            "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"route": {"rules": [{
                "matches": format!("Path(`/{name}`)"),
                "service": {"name": name, "port": 5432},
            }]}},
        }),
    ]
    .map(|value| change(&value))
}

fn change(value: &Value) -> Change {
    match decode(value, Strictness::Api) {
        Ok(Decoded::Object { object, .. }) => Change::Apply {
            object,
            origin: Origin::Api,
            notes: Vec::new(),
        },
        other => panic!("{other:?}"),
    }
}

const DB: &str = "db.example.org.";

#[tokio::test]
async fn addresses_of_both_families_become_endpoints_and_follow_their_records() {
    let server = Server::start().await;
    server.addresses(DB, &["192.0.2.2", "192.0.2.1"], &["2001:db8::1"]);
    let mut rig = Rig::start(server.resolver(""), &["DB.example.org"]);
    assert_eq!(
        rig.reader.generation(),
        0,
        "the first table waits for the name"
    );
    rig.until("found", |rig| rig.reader.generation() > 0).await;
    let both = ["[2001:db8::1]:5432", "192.0.2.1:5432", "192.0.2.2:5432"];
    assert_eq!(rig.endpoints("s0"), both);
    assert_eq!(rig.ready("s0"), (true, "Served on `web`.".to_owned()));

    // The same in another order is the same.
    server.addresses(DB, &["192.0.2.1", "192.0.2.2"], &["2001:db8::1"]);
    let found = rig.lookups.found();
    while rig.lookups.found() < found + 3 {
        assert_eq!(rig.next().await, Published::Nothing);
    }
    server.addresses(DB, &["192.0.2.3"], &[]);
    rig.until("moved", |rig| rig.endpoints("s0") == ["192.0.2.3:5432"])
        .await;
    assert_eq!(rig.said(), "");
}

#[tokio::test]
async fn what_was_found_stays_while_nothing_is_found() {
    let server = Server::start().await;
    let troubles = [
        (
            Say::Code(ResponseCode::ServFail),
            "answered with an error (Server Failure)",
        ),
        (
            Say::Code(ResponseCode::Refused),
            "answered with an error (Query Refused)",
        ),
        (
            Say::Code(ResponseCode::NXDomain),
            "there is no such name (NXDOMAIN)",
        ),
        (Say::Addresses(Vec::new(), 0), "it has no addresses"),
        (Say::Nothing, "no DNS server answered in time"),
    ];
    server.addresses(DB, &["192.0.2.1"], &["2001:db8::1"]);
    let mut rig = Rig::start(server.resolver(""), &["db.example.org"]);
    let both = ["[2001:db8::1]:5432", "192.0.2.1:5432"];
    rig.until("found", |rig| rig.endpoints("s0") == both).await;
    let mut cases = 0;
    for (trouble, words) in &troubles {
        server.say_of_both(DB, trouble);
        rig.until("told", |rig| rig.said().contains(words)).await;
        assert_eq!(rig.endpoints("s0"), both, "{words}");
        // Requests get what they should; the route says what is wrong all the same.
        assert!(rig.ready("s0").0, "{words}");
        let report = rig.compiler.reports().borrow().clone();
        let entry = report.get(&Key::new(Kind::IngressRoute, "default", "s0"));
        let entry = entry.expect("an entry");
        assert_eq!(entry.findings[0].reason, Reason::LookupFailed);
        let accepted = entry.condition(ConditionType::Accepted).expect("one");
        assert!(
            accepted.message.contains("found last serve on"),
            "{accepted:?}"
        );
        server.addresses(DB, &["192.0.2.1"], &["2001:db8::1"]);
        rig.until("well again", |rig| rig.said().is_empty()).await;
        cases += 1;
    }
    assert_eq!(cases, 5);
    assert!(rig.lookups.failed() >= 6 && rig.lookups.empty() >= 2);
    assert_eq!(
        rig.reader.generation(),
        1,
        "nothing has changed for requests"
    );
}

#[tokio::test]
async fn one_lost_answer_is_not_told() {
    let server = Server::start().await;
    server.addresses(DB, &["192.0.2.1"], &[]);
    let script = Scripted::new(move |turn| match turn {
        1 => Answer::failed(Failure::TimedOut),
        _ => found("192.0.2.1"),
    });
    let mut rig = Rig::start(script, &["db.example.org"]);
    while rig.lookups.found() < 3 {
        rig.next().await;
        assert_eq!(rig.said(), "");
    }
    assert_eq!(rig.lookups.failed(), 1);
}

#[tokio::test]
async fn a_name_that_does_not_exist_at_first_is_told_and_found_later() {
    let server = Server::start().await;
    let mut rig = Rig::start(server.resolver(""), &["db.example.org"]);
    rig.until("published", |rig| rig.reader.generation() == 1)
        .await;
    assert_eq!(rig.endpoints("s0"), [""; 0]);
    let (ready, why) = rig.ready("s0");
    assert!(!ready);
    assert_eq!(
        why,
        "No endpoint of Service default/s0:5432 takes requests, as `db.example.org` is looked up in \
         vain: there is no such name (NXDOMAIN): they get 503."
    );
    assert!(rig.said().contains("Service default/s0"), "{}", rig.said());
    server.addresses(DB, &["192.0.2.1"], &[]);
    rig.until("found", |rig| rig.ready("s0").0).await;
    assert_eq!(rig.endpoints("s0"), ["192.0.2.1:5432"]);
    assert_eq!(rig.said(), "");
}

#[tokio::test]
async fn addresses_that_no_slice_may_have_are_refused() {
    let server = Server::start().await;
    let refused = ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1"];
    let refused_ipv6 = ["::1", "fe80::1", "::", "ff02::1", "::ffff:127.0.0.1"];
    server.addresses(DB, &refused, &refused_ipv6);
    let mut rig = Rig::start(server.resolver(""), &["db.example.org"]);
    rig.until("published", |rig| rig.reader.generation() == 1)
        .await;
    assert_eq!(rig.endpoints("s0"), [""; 0]);
    let said = rig.said();
    // The last one is the first in other words.
    for address in refused.iter().chain(&refused_ipv6[..4]) {
        assert!(said.contains(&format!("address {address} of")), "{said}");
    }
    assert!(
        rig.ready("s0")
            .1
            .contains("no address of `db.example.org` may be used")
    );
    server.addresses(DB, &["127.0.0.1", "192.0.2.1"], &[]);
    rig.until("found", |rig| rig.endpoints("s0") == ["192.0.2.1:5432"])
        .await;
}

#[tokio::test]
async fn a_name_is_complete_whatever_resolv_conf_says() {
    let server = Server::start().await;
    server.addresses("db.", &["192.0.2.1"], &[]);
    let resolver = server.resolver("search svc.example example\noptions ndots:5\n");
    let mut rig = Rig::start(resolver, &["db", "none"]);
    rig.until("found", |rig| rig.endpoints("s0") == ["192.0.2.1:5432"])
        .await;
    rig.until("not found", |rig| rig.ready("s1").1.contains("NXDOMAIN"))
        .await;
    let mut asked = server.asked.lock().unwrap().clone();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, ["db.", "none."]);
}

#[tokio::test]
async fn an_answer_holds_as_long_as_its_shortest_record() {
    let server = Server::start().await;
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let name = DomainName::parse("db.example.org").unwrap();
    let resolver = server.resolver("");
    let cases = [
        (Say::Addresses(vec![address], 300), 300),
        (Say::Alias("a.example.net.", 7, vec![address], 300), 7),
        (Say::Alias("a.example.net.", 300, vec![address], 9), 9),
    ];
    for (say, seconds) in &cases {
        server.say(DB, RecordType::A, say.clone());
        let looked = resolver.look_up(&name).await;
        assert_eq!(looked.answer.ipv4, Ok(vec![address]), "{say:?}");
        assert_eq!(looked.answer.ipv6, Err(Failure::NoSuchName));
        assert_eq!(looked.ttl, Duration::from_secs(*seconds), "{say:?}");
    }
    assert_eq!(cases.len(), 3);
}

#[tokio::test]
async fn a_family_that_is_not_answered_does_not_cost_the_other() {
    let server = Server::start().await;
    server.addresses(DB, &["192.0.2.1"], &[]);
    server.say(DB, RecordType::AAAA, Say::Nothing);
    let mut rig = Rig::start(server.resolver(""), &["db.example.org"]);
    rig.until("found", |rig| rig.endpoints("s0") == ["192.0.2.1:5432"])
        .await;
    assert_eq!(rig.said(), "");
}

/// Answers by the number of the lookup, from 0.
struct Scripted<A> {
    answer: A,
    turns: AtomicUsize,
}

impl<A: Fn(usize) -> Answer> Scripted<A> {
    fn new(answer: A) -> Self {
        Self {
            answer,
            turns: AtomicUsize::new(0),
        }
    }
}

impl<A: Fn(usize) -> Answer + Send + Sync + 'static> Resolver for Scripted<A> {
    async fn look_up(&self, _: &DomainName) -> Looked {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        Looked {
            answer: (self.answer)(turn),
            ttl: Duration::ZERO,
        }
    }
}

fn found(address: &str) -> Answer {
    Answer {
        ipv4: Ok(vec![address.parse().unwrap()]),
        ipv6: Err(Failure::NoAddresses),
    }
}

#[tokio::test]
async fn a_bug_of_one_lookup_costs_that_lookup() {
    let script = Scripted::new(|turn| match turn {
        0 => panic!("as the test says"),
        _ => found("192.0.2.1"),
    });
    let mut rig = Rig::start(script, &["db.example.org"]);
    rig.until("published", |rig| rig.reader.generation() == 1)
        .await;
    assert!(
        rig.ready("s0").1.contains("a bug of Ferrix"),
        "{:?}",
        rig.ready("s0")
    );
    rig.until("found", |rig| rig.ready("s0").0).await;
}

/// Each lookup waits for a permit.
struct Gated {
    gate: Arc<Semaphore>,
    underway: Arc<AtomicUsize>,
}

impl Resolver for Gated {
    async fn look_up(&self, _: &DomainName) -> Looked {
        self.underway.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await.unwrap().forget();
        self.underway.fetch_sub(1, Ordering::Relaxed);
        Looked {
            answer: found("192.0.2.1"),
            ttl: Duration::from_secs(3600),
        }
    }
}

#[tokio::test]
async fn the_first_table_waits_for_every_name_and_not_too_many_are_looked_up_at_once() {
    let names: Vec<_> = (0..at_once() + 8)
        .map(|it| format!("{it}.example"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (gate, underway) = (Arc::new(Semaphore::new(0)), Arc::default());
    let gated = Gated {
        gate: Arc::clone(&gate),
        underway: Arc::clone(&underway),
    };
    let mut rig = Rig::start(gated, &names);
    let waiting = async {
        while underway.load(Ordering::Relaxed) < at_once() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("in time");
    for _ in 1..names.len() {
        gate.add_permits(1);
        assert_eq!(rig.next().await, Published::Nothing);
        assert!(underway.load(Ordering::Relaxed) <= at_once());
        assert!(!rig.compiler.is_serving());
    }
    // A name that comes to be wanted meanwhile is not waited for.
    rig.compiler.apply(objects("late", "late.example"));
    gate.add_permits(1);
    assert_eq!(rig.next().await, Published::Table { generation: 1 });
    assert_eq!(rig.endpoints("s0"), ["192.0.2.1:5432"]);
    assert!(rig.ready("late").1.contains("has not been looked up yet"));
    gate.add_permits(at_once());
    rig.until("all found", |rig| rig.ready("late").0).await;
}

#[tokio::test]
async fn a_name_that_nobody_wants_any_more_is_forgotten() {
    let script = Scripted::new(|_| found("192.0.2.1"));
    let mut rig = Rig::start(
        script,
        &["db.example.org", "db.example.org", "other.example"],
    );
    rig.until("found", |rig| rig.reader.generation() == 1).await;
    let key = |kind, name: &str| Key::new(kind, "default", name);
    let name = DomainName::parse("db.example.org").unwrap();
    let known = |rig: &Rig| rig.compiler.world().resolution(&name).is_some();
    // One of the two that stand for it is left.
    rig.compiler
        .apply([Change::Remove(key(Kind::IngressRoute, "s0"))]);
    let before = rig.lookups.found();
    rig.until("looked up again", |rig| rig.lookups.found() > before + 4)
        .await;
    assert!(known(&rig));
    rig.compiler
        .apply([Change::Remove(key(Kind::Service, "s1"))]);
    rig.until("forgotten", |rig| !known(rig)).await;
    // It comes back.
    rig.compiler.apply(objects("s1", "db.example.org"));
    rig.until("found again", |rig| {
        rig.endpoints("s1") == ["192.0.2.1:5432"]
    })
    .await;
}

/// When the lookups began.
struct Timed(Arc<Mutex<Vec<Instant>>>, Duration);

impl Resolver for Timed {
    async fn look_up(&self, _: &DomainName) -> Looked {
        self.0.lock().unwrap().push(Instant::now());
        Looked {
            answer: found("192.0.2.1"),
            ttl: self.1,
        }
    }
}

#[tokio::test]
async fn ttls_have_bounds() {
    let mut cases = 0;
    for ttl in [Duration::ZERO, Duration::from_secs(86_400), Duration::MAX] {
        let times = Arc::default();
        let mut rig = Rig::start(Timed(Arc::clone(&times), ttl), &["db.example.org"]);
        rig.until("looked up again", |_| times.lock().unwrap().len() >= 4)
            .await;
        let times = times.lock().unwrap();
        for pair in times.windows(2) {
            assert!(pair[1] - pair[0] >= FAST.shortest, "{ttl:?}");
        }
        cases += 1;
    }
    assert_eq!(cases, 3);
}
