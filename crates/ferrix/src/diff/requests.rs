//! The requests of an access log, as Ferrix writes it in JSON.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use ferrix_rule::Sample;
use ferrix_table::path::{self, PathOptions};
use http::{HeaderName, HeaderValue, Method, header};
use serde::Deserialize;

use super::{Asked, Differences, Requests, State, path_options};
use crate::Settings;

/// Why there are no requests.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file.
    #[error("the access log {} cannot be read: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It holds something else.
    #[error(
        "the access log {} has no line of a request; it is to be one that Ferrix wrote with \
         access_log.format: json", .0.display()
    )]
    NoRequest(PathBuf),
}

/// What is read of a line. Header fields but these two are not in the log.
#[derive(Deserialize)]
struct Line {
    entry_point: String,
    client: IpAddr,
    method: String,
    host: String,
    path: String,
    #[serde(default)]
    referer: Option<String>,
    #[serde(default)]
    user_agent: Option<String>,
}

/// Compares the states by the requests of an access log, which may be larger than the memory.
pub fn read_log(
    settings: &Settings,
    before: &State,
    after: &State,
    log: &Path,
) -> Result<(Differences, Requests), LogError> {
    let options = path_options(settings);
    let failed = |error| LogError::Read {
        path: log.to_owned(),
        error,
    };
    let mut differences = Differences::default();
    let mut requests = Requests::default();
    for line in BufReader::new(File::open(log).map_err(failed)?).split(b'\n') {
        let line = line.map_err(failed)?;
        match serde_json::from_slice::<Line>(&line) {
            Ok(line) => {
                if let Some(asked) = asked(line, &options) {
                    differences.compare(before, after, &asked);
                }
            }
            Err(_) => requests.unread += usize::from(!line.is_empty()),
        }
    }
    match differences.requests {
        0 if requests.unread > 0 => Err(LogError::NoRequest(log.to_owned())),
        _ => Ok((differences, requests)),
    }
}

/// `None`: a request that was refused before any rule was asked.
fn asked(line: Line, options: &PathOptions) -> Option<Asked> {
    let target = path::canonical(&line.path, options).ok()?;
    let mut sample = Sample {
        method: Method::from_bytes(line.method.as_bytes()).ok()?,
        host: line.host,
        path: target.routing_path.clone().into_owned(),
        query: target.query().to_owned(),
        headers: http::HeaderMap::new(),
        client: line.client,
    };
    let mut field = |name: HeaderName, value: Option<String>| {
        if let Some(value) = value.and_then(|it| HeaderValue::from_str(&it).ok()) {
            sample.headers.insert(name, value);
        }
    };
    field(header::REFERER, line.referer);
    field(header::USER_AGENT, line.user_agent);
    Some(Asked {
        entry_point: line.entry_point,
        sample,
    })
}

impl Asked {
    /// Whether it says where it comes from.
    pub(super) fn is_from_elsewhere(&self) -> bool {
        self.sample.client != IpAddr::V4(Ipv4Addr::LOCALHOST)
    }
}
