//! `ferrix diff`: which requests two states of the objects serve differently.
//!
//! ```text
//!  witness     requests that rules of either state take ─┐
//!  requests    those of an access log ───────────────────┴─► outcome, before and after ─► print
//! ```

use std::collections::HashMap;

use ferrix_rule::Sample;
use ferrix_table::{Table, path::PathOptions};

use crate::Settings;

mod outcome;
mod print;
mod requests;
mod witness;

pub use print::Output;
pub use requests::{LogError, read_log};

use outcome::Served;

/// A state of the objects.
#[derive(Debug)]
pub struct State {
    /// Where they are from: a folder, or `cluster`.
    pub name: String,
    /// What was made of them.
    pub table: Table,
    /// What of a cluster could not be seen, and why.
    pub withheld: Vec<String>,
}

/// A request to compare the states by.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The name of the entry point that it comes in by.
    pub entry_point: String,
    /// The rest.
    pub sample: Sample,
}

/// The requests to compare the states by.
#[derive(Debug, Default)]
pub struct Requests {
    all: Vec<Asked>,
    /// Rules of which no request is known.
    untried: Vec<String>,
    /// Lines of an access log that are none.
    unread: usize,
}

/// What differs.
#[derive(Debug, Default)]
pub struct Differences {
    /// In the order in which they were met.
    all: Vec<Difference>,
    places: HashMap<String, usize>,
    /// How many requests were compared.
    requests: usize,
    /// How many of them differ.
    differing: usize,
}

/// Requests that are served in one way before, and in another after.
#[derive(Debug)]
struct Difference {
    /// The first of them.
    example: Asked,
    count: usize,
    before: Served,
    after: Served,
}

impl Requests {
    /// One for each rule of either state, which that rule serves where there is such a request.
    pub fn of_rules(settings: &Settings, before: &State, after: &State) -> Self {
        witness::requests(&path_options(settings), [before, after])
    }
}

impl Differences {
    /// Compares the states by each of the requests.
    pub fn between(before: &State, after: &State, requests: &Requests) -> Self {
        let mut differences = Self::default();
        for asked in &requests.all {
            differences.compare(before, after, asked);
        }
        differences
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn compare(&mut self, before: &State, after: &State, asked: &Asked) {
        self.requests += 1;
        let served = outcome::served(&before.table, asked);
        let instead = outcome::served(&after.table, asked);
        if served.outcome == instead.outcome {
            return;
        }
        self.differing += 1;
        let kind = format!("{:?} {:?}", served.outcome, instead.outcome);
        let place = *self.places.entry(kind).or_insert(self.all.len());
        match self.all.get_mut(place) {
            Some(difference) => difference.count += 1,
            None => self.all.push(Difference {
                example: asked.clone(),
                count: 1,
                before: served,
                after: instead,
            }),
        }
    }
}

fn path_options(settings: &Settings) -> PathOptions {
    PathOptions {
        merge_slashes: settings.proxy.paths.merge_slashes,
        refuse_encoded_slashes: settings.proxy.paths.refuse_encoded_slashes,
    }
}
