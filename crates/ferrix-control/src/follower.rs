//! What is asked for outside of the cluster, and kept up to date: addresses of names, keys of issuers.
//!
//! ```text
//!  what is in use ─► when: at once, then when it is due, or earlier where somebody misses a part of it
//!                      └─► an answer ─► a change of the world ─► the compiler
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        watch,
    },
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// Where nothing is due there is something else to wait for.
const FAR: Duration = Duration::from_secs(3600);

/// What is in use, again after each change.
pub(crate) type InUse<K> = watch::Receiver<Arc<BTreeSet<K>>>;

/// What is asked for, and what becomes of the answers.
pub(crate) trait Subject {
    /// What is asked about.
    type Key: Clone + Ord + Send + Sync + 'static;
    /// What is remembered of a key.
    type Known;
    /// What comes of asking.
    type Answer: Send + 'static;

    /// How many keys are asked about at once.
    const AT_ONCE: usize;

    /// How long asking may take, with the wait for its turn.
    const LONGEST: Duration;

    /// What is known of a key that nobody has asked about. `hasten` takes it where it is to be asked about
    /// before it is due.
    fn first(&self, key: &Self::Key, hasten: &UnboundedSender<Self::Key>) -> Self::Known;

    /// Asks about a key.
    fn ask(&self, key: &Self::Key) -> impl Future<Output = Self::Answer> + Send + 'static;

    /// The answer that there is none.
    fn unanswered(why: Unanswered) -> Self::Answer;

    /// Takes an answer in, and tells of it. Returns for how long it holds.
    fn answered(&self, key: &Self::Key, known: &mut Self::Known, answer: Self::Answer) -> Duration;

    /// When a key that is hastened is asked about. `None`: when it is due.
    fn hastened(&self, _known: &mut Self::Known, _due: Instant) -> Option<Instant> {
        None
    }

    /// Tells that a key is not in use any more.
    fn forget(&self, key: Self::Key);
}

/// Why asking came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// It took too long.
    Late,
    /// It panicked.
    Bug,
}

/// Asks about all keys in use.
pub(crate) struct Follower<S: Subject> {
    subject: S,
    known: BTreeMap<S::Key, S::Known>,
    /// When each key that is not asked about right now is asked about next.
    due: BTreeSet<(Instant, S::Key)>,
    turns: Arc<Semaphore>,
    underway: JoinSet<(S::Key, S::Answer)>,
    hasten: UnboundedSender<S::Key>,
    hastened: UnboundedReceiver<S::Key>,
}

impl<S: Subject> Follower<S> {
    pub(crate) fn new(subject: S) -> Self {
        let (hasten, hastened) = mpsc::unbounded_channel();
        Self {
            subject,
            known: BTreeMap::new(),
            due: BTreeSet::new(),
            turns: Arc::new(Semaphore::new(S::AT_ONCE)),
            underway: JoinSet::new(),
            hasten,
            hastened,
        }
    }

    /// Until there are no more keys to come.
    pub(crate) async fn run(mut self, mut in_use: InUse<S::Key>) {
        let mut wanted = Arc::clone(&in_use.borrow_and_update());
        self.begin(&wanted);
        loop {
            let next = self.due.first().map(|(at, _)| *at);
            let next = next.unwrap_or_else(|| Instant::now() + FAR);
            tokio::select! {
                changed = in_use.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    wanted = Arc::clone(&in_use.borrow_and_update());
                    self.begin(&wanted);
                }
                Some(answered) = self.underway.join_next() => {
                    // The work itself catches what panics, and nobody aborts it.
                    if let Ok((key, answer)) = answered {
                        self.answered(key, answer);
                    }
                }
                Some(key) = self.hastened.recv() => self.bring_forward(&key),
                () = sleep_until(next) => self.proceed(&wanted),
            }
        }
    }

    /// Asks about what is wanted for the first time. What is not wanted any more goes when it is due, so that a
    /// route that is replaced finds what is known of it.
    fn begin(&mut self, wanted: &BTreeSet<S::Key>) {
        for key in wanted {
            if !self.known.contains_key(key) {
                let first = self.subject.first(key, &self.hasten);
                self.known.insert(key.clone(), first);
                self.ask(key.clone());
            }
        }
    }

    /// Asks about what is due.
    fn proceed(&mut self, wanted: &BTreeSet<S::Key>) {
        let now = Instant::now();
        while self.due.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = self.due.pop_first()
        {
            if wanted.contains(&key) {
                self.ask(key);
            } else {
                self.known.remove(&key);
                self.subject.forget(key);
            }
        }
    }

    /// Has a key asked about earlier. One that is asked about right now is soon enough.
    fn bring_forward(&mut self, key: &S::Key) {
        let place = self.due.iter().find(|(_, it)| it == key).cloned();
        let (Some(known), Some((due, key))) = (self.known.get_mut(key), place) else {
            return;
        };
        if let Some(at) = self.subject.hastened(known, due) {
            self.due.remove(&(due, key.clone()));
            self.due.insert((at, key));
        }
    }

    fn ask(&mut self, key: S::Key) {
        let turns = Arc::clone(&self.turns);
        let asking = self.subject.ask(&key);
        self.underway.spawn(async move {
            let work = async {
                // Nobody closes it.
                let _turn = turns.acquire().await;
                asking.await
            };
            let work = timeout(S::LONGEST, AssertUnwindSafe(work).catch_unwind()).await;
            let answer = match work {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => S::unanswered(Unanswered::Bug),
                Err(_) => S::unanswered(Unanswered::Late),
            };
            (key, answer)
        });
    }

    fn answered(&mut self, key: S::Key, answer: S::Answer) {
        if let Some(known) = self.known.get_mut(&key) {
            let pause = self.subject.answered(&key, known, answer);
            self.due.insert((Instant::now() + pause, key));
        }
    }
}
