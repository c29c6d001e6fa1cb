//! One line for each request, written by a thread of its own.
//!
//! ```text
//!  request ends ─► Sender (never waits) ─► queue ─► writer: batch ─► lines ─► one write
//! ```
//!
//! A reader of the log that stops reading stops only the writer. Then the queue fills, records
//! are dropped and counted, and requests go on.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ferrix_proxy::access_log::{MoreFields, Record, Sender};
use ferrix_table::{object::Key, services::ServiceId, state::Counter};
use serde::Serialize;
use tokio::sync::{Notify, mpsc::Receiver, oneshot};

use crate::{
    settings::{AccessLog, AccessLogFormat},
    stream,
};

/// Records written at once, so that memory stays small however far the writer is behind.
const BATCH: usize = 512;

/// How often to look whether the file has been moved away by a log rotation, and how often to
/// complain about a file that cannot be written.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the end of the process waits for a sink that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why there is no access log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("access_log.path: cannot open {}: {error}", path.display())]
    Open {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Standard output.
    #[error("access_log: standard output cannot be written to: {0}")]
    Stdout(io::Error),
    /// The thread.
    #[error("the thread of the access log cannot be started: {0}")]
    Thread(io::Error),
}

/// A running access log. Dropping it writes what is queued.
#[derive(Debug)]
pub struct Writer {
    sender: Sender,
    thread: Thread,
}

impl Writer {
    /// Starts the writer, or nothing if the log is off.
    pub fn start(settings: &AccessLog) -> Result<Option<Self>, Error> {
        let (sender, records) = ferrix_proxy::access_log::channel(settings.buffer);
        let thread = Thread::start(settings, records)?;
        Ok(thread.map(|thread| Self { sender, thread }))
    }

    /// The end that the proxy keeps.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Opens the file anew, if it is a file: somebody has moved it away. Without this the writer
    /// finds out by itself, but only when there is something to write.
    pub fn reopen(&self) {
        self.thread.reopen.notify_one();
    }

    /// What has been dropped, for the metrics page.
    pub(crate) fn losses(&self) -> Losses {
        Losses {
            sender: self.sender.clone(),
            lost: Arc::clone(&self.thread.lost),
        }
    }
}

/// The thread that writes.
#[derive(Debug)]
struct Thread {
    lost: Arc<Counter>,
    reopen: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    stopped: mpsc::Receiver<()>,
}

impl Thread {
    fn start(settings: &AccessLog, records: Receiver<Record>) -> Result<Option<Self>, Error> {
        let format = match settings.format {
            AccessLogFormat::Off => return Ok(None),
            AccessLogFormat::Text => text_line,
            AccessLogFormat::Json => json_line,
        };
        let sink = match &settings.path {
            None => Sink::Stdout(stream::stdout().map_err(Error::Stdout)?),
            Some(path) => Sink::file(path).map_err(|error| Error::Open {
                path: path.clone(),
                error,
            })?,
        };
        let lost = Arc::new(Counter::default());
        let mut state = State {
            format,
            sink,
            lost: Arc::clone(&lost),
            complained: None,
        };
        let reopen = Arc::<Notify>::default();
        let reopening = Arc::clone(&reopen);
        let (stop, stopping) = oneshot::channel();
        let (done, stopped) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(Error::Thread)?;
        thread::Builder::new()
            .name("access-log".into())
            .spawn(move || {
                runtime.block_on(write(records, stopping, &reopening, &mut state));
                // Nobody listens if the program did not wait.
                let _ = done.send(());
            })
            .map_err(Error::Thread)?;
        Ok(Some(Self {
            lost,
            reopen,
            stop: Some(stop),
            stopped,
        }))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Errors of both mean that the thread has ended already, or that it takes too long.
            let _ = stop.send(());
            let _ = self.stopped.recv_timeout(PATIENCE);
        }
    }
}

/// How many records were not written.
#[derive(Clone, Debug)]
pub(crate) struct Losses {
    sender: Sender,
    lost: Arc<Counter>,
}

impl Losses {
    /// Dropped because the queue was full, or lost because the sink failed.
    pub(crate) fn get(&self) -> u64 {
        self.sender.dropped() + self.lost.get()
    }
}

struct State {
    format: fn(&mut Vec<u8>, &Record),
    sink: Sink,
    lost: Arc<Counter>,
    complained: Option<Instant>,
}

async fn write(
    mut records: Receiver<Record>,
    mut stopping: oneshot::Receiver<()>,
    reopen: &Notify,
    state: &mut State,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut lines = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopping, if !records.is_closed() => records.close(),
            () = reopen.notified() => state.reopen(),
            count = records.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return;
                }
                state.write(&mut batch, &mut lines);
            }
        }
    }
}

impl State {
    /// Empties the batch, by way of the buffer `lines`.
    fn write(&mut self, batch: &mut Vec<Record>, lines: &mut Vec<u8>) {
        let count = batch.len() as u64;
        lines.clear();
        for record in batch.drain(..) {
            (self.format)(lines, &record);
        }
        if let Err(error) = self.sink.write(lines) {
            self.lost.add(count);
            self.complain(&error, "the access log cannot be written; records are lost");
        }
    }

    fn reopen(&mut self) {
        if let Err(error) = self.sink.reopen() {
            self.complain(
                &error,
                "the access log cannot be opened anew; the old file is kept",
            );
        }
    }

    fn complain(&mut self, error: &io::Error, what: &str) {
        if self.complained.is_none_or(|at| at.elapsed() > INTERVAL) {
            self.complained = Some(Instant::now());
            tracing::warn!(%error, "{what}");
        }
    }
}

enum Sink {
    Stdout(File),
    File {
        path: PathBuf,
        file: File,
        checked: Instant,
    },
}

impl Sink {
    fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::File {
            path: path.into(),
            file: append(path)?,
            checked: Instant::now(),
        })
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File { path, file, .. } = self {
            *file = append(path)?;
        }
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stream::write_all(stdout, lines),
            Self::File {
                path,
                file,
                checked,
            } => {
                if checked.elapsed() > INTERVAL {
                    *checked = Instant::now();
                    if moved(path, file) {
                        *file = append(path)?;
                    }
                }
                stream::write_all(file, lines)
            }
        }
    }
}

/// Opens a file to append to. A pipe that nobody reads is an error: opening it would wait for a
/// reader, and with it the start.
fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;

        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    options.open(path)
}

/// Whether `path` names another file now than the open one: a rotation took it away.
#[cfg(unix)]
fn moved(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    match (std::fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => (named.dev(), named.ino()) != (open.dev(), open.ino()),
        (Err(error), _) => error.kind() == io::ErrorKind::NotFound,
        (_, Err(_)) => false,
    }
}

#[cfg(not(unix))]
fn moved(path: &Path, _file: &File) -> bool {
    !path.exists()
}

/// The combined format of nginx and Apache, with more fields behind it: host, route, service,
/// endpoint, attempts, seconds, request id, error. Then what a rule adds: `>name="value"` of the request,
/// `<name="value"` of the response.
fn text_line(line: &mut Vec<u8>, record: &Record) {
    let mut text = String::with_capacity(256);
    let time = Time::from(record.time);
    let route = record.route.as_ref().map(|route| {
        let Key { kind, object } = &route.key;
        format!("{kind}:{object}:{}", record.rule)
    });
    let service = record.service.as_ref().map(ServiceId::to_string);
    let endpoint = record.endpoint.map(|endpoint| endpoint.to_string());
    let optional = |value: &Option<String>| match value {
        Some(value) => escaped(value),
        None => "-".into(),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{} - - [{}] \"{} {} {}\" {:03} {} \"{}\" \"{}\" \"{}\" {} {} {} {} {:.6} {} \"{}\"",
        address(record.client),
        time.common(),
        record.method,
        escaped(&record.path),
        record.protocol,
        record.status,
        record.sent_bytes,
        optional(&record.referer),
        optional(&record.user_agent),
        escaped(&record.host),
        optional(&route),
        optional(&service),
        optional(&endpoint),
        record.attempts,
        record.duration.as_secs_f64(),
        match record.request_id.as_str() {
            "" => "-".into(),
            id => escaped(id).replace(' ', "\\x20"),
        },
        match record.cut {
            true => format!("cut short: {}", optional(&record.error)),
            false => optional(&record.error),
        },
    );
    if let Some(MoreFields { request, response }) = record.more.as_deref() {
        text.pop();
        for (sign, fields) in [('>', request), ('<', response)] {
            for (name, value) in fields {
                let _ = write!(text, " {sign}{name}=\"{}\"", escaped(value));
            }
        }
        text.push('\n');
    }
    line.extend_from_slice(text.as_bytes());
}

/// A client cannot end a quoted value or a line.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            c if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(text, "\\x{byte:02X}");
                }
            }
            c => text.push(c),
        }
    }
    text
}

fn json_line(line: &mut Vec<u8>, record: &Record) {
    let key = record.route.as_ref().map(|route| &route.key);
    let service = record.service.as_ref();
    let more = record.more.as_deref();
    let json = Line {
        time: Time::from(record.time).rfc3339(),
        entry_point: &record.entry_point,
        client: address(record.client),
        client_port: record.client.port(),
        protocol: record.protocol,
        method: record.method.as_str(),
        host: &record.host,
        path: &record.path,
        status: record.status,
        received_bytes: record.received_bytes,
        sent_bytes: record.sent_bytes,
        seconds: record.duration.as_micros() as f64 / 1e6,
        route_kind: key.map(|key| key.kind.as_str()),
        route_namespace: key.map(|key| &*key.namespace),
        route_name: key.map(|key| &*key.name),
        rule: key.map(|_| record.rule),
        service_namespace: service.map(|service| &*service.service.namespace),
        service_name: service.map(|service| &*service.service.name),
        service_port: service.map(|service| service.port),
        endpoint: record.endpoint,
        attempts: record.attempts,
        request_id: &record.request_id,
        referer: record.referer.as_deref(),
        user_agent: record.user_agent.as_deref(),
        cut: record.cut,
        error: record.error.as_deref(),
        request_headers: more.map(|more| by_name(&more.request)),
        response_headers: more.map(|more| by_name(&more.response)),
    };
    let start = line.len();
    match serde_json::to_writer(&mut *line, &json) {
        Ok(()) => line.push(b'\n'),
        // Text and numbers cannot fail; if they do, half a line is worse than none.
        Err(_) => line.truncate(start),
    }
}

/// What stands in a line of JSON. Keys stay; new ones may come.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    entry_point: &'a str,
    client: IpAddr,
    client_port: u16,
    protocol: &'a str,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    status: u16,
    received_bytes: u64,
    sent_bytes: u64,
    seconds: f64,
    route_kind: Option<&'a str>,
    route_namespace: Option<&'a str>,
    route_name: Option<&'a str>,
    rule: Option<u32>,
    service_namespace: Option<&'a str>,
    service_name: Option<&'a str>,
    service_port: Option<u16>,
    endpoint: Option<SocketAddr>,
    attempts: u8,
    request_id: &'a str,
    referer: Option<&'a str>,
    user_agent: Option<&'a str>,
    cut: bool,
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_headers: Option<BTreeMap<&'a str, &'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_headers: Option<BTreeMap<&'a str, &'a str>>,
}

fn by_name(fields: &[(Box<str>, String)]) -> BTreeMap<&str, &str> {
    let fields = fields.iter();
    fields
        .map(|(name, value)| (&**name, value.as_str()))
        .collect()
}

/// IPv4 looks like IPv4 on a dual-stack socket too.
fn address(client: SocketAddr) -> IpAddr {
    client.ip().to_canonical()
}

/// A point in time by the calendar, in UTC.
struct Time {
    year: i64,
    month: usize,
    day: i64,
    second_of_day: u64,
    milliseconds: u32,
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Years are counted from March, so that a leap day is the last of its year, and in eras
        // of 400 years, which are all alike.
        let days = (since.as_secs() / 86_400) as i64 + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month: month as usize,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            second_of_day: since.as_secs() % 86_400,
            milliseconds: since.subsec_millis(),
        }
    }
}

impl Time {
    /// `10/Oct/2000:13:55:36 +0000`.
    fn common(&self) -> String {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let (hour, minute, second) = self.clock();
        format!(
            "{:02}/{}/{}:{hour:02}:{minute:02}:{second:02} +0000",
            self.day,
            MONTHS[self.month - 1],
            self.year,
        )
    }

    /// `2000-10-10T13:55:36.000Z`.
    fn rfc3339(&self) -> String {
        let (hour, minute, second) = self.clock();
        format!(
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            self.year, self.month, self.day, self.milliseconds,
        )
    }

    fn clock(&self) -> (u64, u64, u64) {
        let second = self.second_of_day;
        (second / 3_600, second / 60 % 60, second % 60)
    }
}

#[cfg(test)]
mod tests;
