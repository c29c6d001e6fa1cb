//! A request to a Service that has a BackendPolicy: what that asks for, for as long as the request lasts.
//!
//! Requests of other Services have none of this, and find that out once.

use std::{net::SocketAddr, sync::Arc};

use ferrix_http1::Fields;
use ferrix_table::{
    backend_policy::InForce,
    balancing::Asked,
    policy::Session,
    rules::Route,
    services::{Endpoint, Service},
};

use crate::{
    judge::Judge,
    proxy_protocol::Introduction,
    queue::Turn,
    retry::{Broken, Retrying},
    session::{self, Token},
};

/// A request to a service with a policy.
pub(crate) struct Governed<'r> {
    pub(crate) service: &'r Service,
    pub(crate) policy: &'r InForce,
    /// What the policy chooses by.
    pub(crate) asked: Asked,
    /// The session that it asks for, with the token that the request has.
    pub(crate) session: Option<(&'r Session, Option<Token>)>,
    /// What endpoints are told of the client.
    pub(crate) introduction: Option<Arc<Introduction>>,
    /// The request among those that are under way.
    pub(crate) _turn: Option<Turn>,
    /// What comes of the attempt that is under way, where others choose by that.
    pub(crate) judge: Option<Judge<'r>>,
    /// The request among those that are sent once more, where it is one.
    pub(crate) retrying: Option<Retrying<'r>>,
}

impl<'r> Governed<'r> {
    /// Who has answered the client before.
    pub(crate) fn preferred(&self) -> Option<SocketAddr> {
        let (_, token) = self.session?;
        session::find_in(token?, self.service)
    }

    /// An attempt at the request begins.
    pub(crate) fn begin(&mut self, endpoint: &Endpoint, route: Option<&Arc<Route>>) {
        self.judge = Judge::new(self.service, self.policy, endpoint, route);
    }

    /// The header section of an answer is there.
    pub(crate) fn answered(&mut self, status: u16) {
        if let Some(judge) = self.judge.take() {
            judge.answered(status);
        }
    }

    /// There is no answer; see [`Judge::broke`].
    pub(crate) fn broke(&mut self, broken: &Broken, reused: bool) {
        if let Some(judge) = self.judge.take() {
            judge.broke(broken, reused);
        }
    }

    /// Whether there is room for one more request that is sent once more. Once that was so, this one has it.
    pub(crate) fn may_repeat(&mut self) -> bool {
        let Some(budget) = self.policy.retries else {
            return true;
        };
        if self.retrying.is_none() {
            self.retrying = Retrying::begin(self.service, &self.policy.state, budget);
        }
        self.retrying.is_some()
    }

    /// Gives the client the token of the endpoint that has answered.
    pub(crate) fn keep_session(&self, endpoint: SocketAddr, secure: bool, fields: &mut Fields) {
        if let Some((session, has)) = self.session {
            let token = Token::of(&self.service.id, endpoint);
            session::keep(session, has, token, secure, fields);
        }
    }
}
