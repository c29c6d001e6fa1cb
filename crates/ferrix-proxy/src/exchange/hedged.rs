//! A request that is sent to a second endpoint, where the policy of its service asks for that and the first takes long:
//! whoever answers first answers it, and the other is left.
//!
//! Only what may be done twice, and has no body. It counts as a request that is sent once more.

use std::{future::poll_fn, mem, time::Duration};

use ferrix_http1::{Framing, RequestHead};
use ferrix_table::services::Endpoint;
use tokio::time::sleep;

use super::{Exchange, settle};
use crate::{
    backend::{Backend, FromBackend},
    client::Client,
    deadline::Deadline,
    failure::Failure,
    judge::Judge,
    pool::Connection,
    race::Race,
    relay::{InFlight, Relay},
    retry::{self, Broken, Kept},
    subrequest,
};

/// A first attempt, and what a second one needs.
pub(super) struct Sending<'s, 'r> {
    pub(super) race: &'s mut Race<'r>,
    pub(super) endpoint: &'s Endpoint,
    /// How long the first may take before there is a second.
    pub(super) delay: Duration,
}

/// How long an attempt at this request may take before there is a second; `None`: it is not to have one.
pub(super) fn delay(relay: &Relay<'_>) -> Option<Duration> {
    let delay = relay.governed.as_ref()?.policy.hedging?;
    let may_be_done_twice = retry::is_idempotent(&relay.method) && relay.body == Framing::Empty;
    (may_be_done_twice && !relay.upgrade).then_some(delay)
}

/// What comes first.
enum Event<T> {
    Answer(Result<FromBackend, Broken>),
    Other(T),
}

/// Who else waits for the answer.
struct Waiting<'w, 'c> {
    client: &'w mut Client<'c>,
    deadline: &'w mut Deadline,
}

impl Waiting<'_, '_> {
    /// Waits for the answer of a backend, or for something else.
    ///
    /// # Errors
    /// The client has left, or it takes too long.
    async fn answer<T>(
        &mut self,
        backend: &mut Backend,
        other: impl Future<Output = T>,
    ) -> Result<Event<T>, Broken> {
        let Self { client, deadline } = self;
        let left = poll_fn(|cx| client.poll_leave(cx));
        tokio::select! {
            biased;
            part = subrequest::next(backend) => Ok(Event::Answer(part)),
            gone = left => Err(gone.into()),
            () = deadline.passed() => Err(match deadline.is_over() {
                true => Broken::Late,
                false => Failure::UpstreamTimeout.into(),
            }),
            other = other => Ok(Event::Other(other)),
        }
    }
}

/// Nobody answers in time, or anybody's answer is of no use any more.
fn give_up(backend: Backend, kept: &mut Option<Kept>, broken: Broken) -> Result<(), Broken> {
    *kept = backend.into_kept();
    Err(broken)
}

impl Exchange<'_, '_> {
    /// Sends the request on a connection, and to another endpoint where no answer comes for so long, and relays
    /// the first response.
    pub(super) async fn hedge(
        &mut self,
        sending: Sending<'_, '_>,
        connection: Connection,
        head: &RequestHead,
        relay: &mut Relay<'_>,
        kept: &mut Option<Kept>,
    ) -> Result<(), Broken> {
        let Sending {
            race,
            endpoint,
            delay,
        } = sending;
        let _in_flight = InFlight::new(endpoint);
        let (secure, reused) = (relay.service.protocol.is_tls(), connection.is_reused());
        let (body, holds) = (relay.body, relay.asked);
        let mut connection = connection;
        connection.ready().await?;
        let mut first = Backend::send(connection, head, body, secure, kept, holds)?;
        self.deadline.set(relay.response_timeout);
        let mut waiting = Waiting {
            client: &mut *self.client,
            deadline: &mut *self.deadline,
        };
        let answer = match waiting.answer(&mut first, sleep(delay)).await {
            Ok(Event::Answer(answer)) => Some(answer),
            Ok(Event::Other(())) => None,
            Err(broken) => return give_up(first, kept, broken),
        };
        if answer.is_some() || !race.has_next() || !relay.may_repeat() {
            return self.go_on(endpoint, first, answer, head, relay, kept).await;
        }
        let second = async {
            let connected = match race.pooled() {
                Some(pooled) => pooled,
                None => race.run(None).await?,
            };
            let (other, mut connection) = connected;
            let reused = connection.is_reused();
            connection.ready().await?;
            let mut whole = Kept::of(Framing::Empty, false, false);
            let sent = Backend::send(connection, head, body, secure, &mut whole, holds);
            sent.map(|backend| (other, backend, reused))
        };
        let event = waiting.answer(&mut first, Box::pin(second)).await;
        self.served.attempts = race.attempts();
        let (other, mut second, second_reused) = match event {
            Ok(Event::Answer(answer)) => {
                let answer = Some(answer);
                return self.go_on(endpoint, first, answer, head, relay, kept).await;
            }
            // There is nobody else.
            Ok(Event::Other(Err(_))) => {
                return self.go_on(endpoint, first, None, head, relay, kept).await;
            }
            Ok(Event::Other(Ok(second))) => second,
            Err(broken) => return give_up(first, kept, broken),
        };
        let other: &Endpoint = &other;
        let _in_flight = InFlight::new(other);
        let mut of_second = self.judge(relay, other);
        let mut waiting = Waiting {
            client: &mut *self.client,
            deadline: &mut *self.deadline,
        };
        let both = waiting.answer(&mut first, subrequest::next(&mut second));
        let (first_answers, answer) = match both.await {
            Ok(Event::Answer(Ok(part))) => (true, Some(Ok(part))),
            Ok(Event::Other(Ok(part))) => (false, Some(Ok(part))),
            // What one has broken the other may still answer.
            Ok(Event::Answer(Err(broken))) => {
                if let Some(governed) = &mut relay.governed {
                    governed.broke(&broken, reused);
                }
                (false, None)
            }
            Ok(Event::Other(Err(broken))) => {
                if let Some(judge) = of_second.take() {
                    judge.broke(&broken, second_reused);
                }
                (true, None)
            }
            Err(broken) => return give_up(first, kept, broken),
        };
        if first_answers {
            second.abort();
            return self.go_on(endpoint, first, answer, head, relay, kept).await;
        }
        first.abort();
        drop(first);
        if let Some(governed) = &mut relay.governed {
            governed.judge = of_second;
        }
        relay.endpoint = Some(other.address);
        self.served.endpoint = Some(other.address);
        self.go_on(other, second, answer, head, relay, kept).await
    }

    /// What comes of another attempt, beside the one that is judged already.
    fn judge<'r>(&self, relay: &mut Relay<'r>, endpoint: &Endpoint) -> Option<Judge<'r>> {
        let governed = relay.governed.as_mut()?;
        let of_first = governed.judge.take();
        let route = self.served.route.as_ref().map(|(route, _)| route);
        governed.begin(endpoint, route);
        mem::replace(&mut governed.judge, of_first)
    }

    /// Relays a response of which this part has been read.
    async fn go_on(
        &mut self,
        endpoint: &Endpoint,
        backend: Backend,
        answer: Option<Result<FromBackend, Broken>>,
        head: &RequestHead,
        relay: &mut Relay<'_>,
        kept: &mut Option<Kept>,
    ) -> Result<(), Broken> {
        let mut backend = backend;
        match answer.transpose() {
            Ok(Some(part)) => backend.put_back(part),
            Ok(None) => {}
            Err(broken) => return give_up(backend, kept, broken),
        }
        let relayed = self.relay(head, relay, &mut backend).await;
        settle(relayed, endpoint, backend, relay, kept)
    }
}
