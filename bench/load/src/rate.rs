//! Requests over HTTP/1 at a constant rate, whatever becomes of them (an open loop).
//!
//! A request's latency counts from the moment at which it was due, not from when a connection was
//! free for it: a proxy that stalls delays all requests that fall into the stall, and they are
//! told as slow (no coordinated omission). The kernel's timer ticks once for each request due.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::epoll,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

use crate::arguments::Arguments;

/// In epoll's data: everything else is the number of a connection.
const TIMER: u64 = u64::MAX;

/// How long answers may take to come in after the last request was due.
const PATIENCE: Duration = Duration::from_secs(2);

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// When the request that it is busy with was due.
    due: Instant,
}

struct Load {
    connections: Vec<Connection>,
    free: VecDeque<usize>,
    request: Vec<u8>,
    start: Instant,
    interval: Duration,
    /// Requests of the warm-up: sent, but not told of.
    skipped: usize,
    sent: usize,
    answered: usize,
    errors: usize,
    /// Microseconds.
    latencies: Vec<u32>,
}

pub fn run(arguments: &Arguments) -> io::Result<()> {
    let rate: f64 = arguments.number("rate");
    let total = (rate * arguments.number::<f64>("seconds")) as usize;
    let warm_up = (rate * arguments.number::<f64>("warm-up")) as usize;
    let interval = Duration::from_secs_f64(1.0 / rate);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut load = Load::connect(arguments, &epoll, interval, warm_up)?;
    let timer = tick(&epoll, interval)?;
    load.start = Instant::now();
    let end = load.start + interval * (warm_up + total) as u32 + PATIENCE;
    let mut due = 0;
    let mut events = Vec::with_capacity(256);
    while load.answered + load.errors < warm_up + total && Instant::now() < end {
        events.clear();
        let second = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&second))?;
        for event in &events {
            match event.data.u64() {
                TIMER => due = (due + ticks(&timer)?).min(warm_up + total),
                connection => load.receive(connection as usize),
            }
        }
        load.send(due);
    }
    load.tell(warm_up + total);
    Ok(())
}

/// A timer that counts how many requests are due.
fn tick(epoll: &OwnedFd, interval: Duration) -> io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let interval = Timespec {
        tv_sec: interval.as_secs() as i64,
        tv_nsec: i64::from(interval.subsec_nanos()),
    };
    let specification = Itimerspec {
        it_interval: interval,
        it_value: interval,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &specification)?;
    epoll::add(
        epoll,
        &timer,
        epoll::EventData::new_u64(TIMER),
        epoll::EventFlags::IN,
    )?;
    Ok(timer)
}

fn ticks(timer: &OwnedFd) -> io::Result<usize> {
    let mut count = [0; 8];
    rustix::io::read(timer, &mut count)?;
    Ok(u64::from_ne_bytes(count) as usize)
}

impl Load {
    fn connect(
        arguments: &Arguments,
        epoll: &OwnedFd,
        interval: Duration,
        skipped: usize,
    ) -> io::Result<Self> {
        let (host, path) = (arguments.text("host"), arguments.text("path"));
        let start = Instant::now();
        let mut connections = Vec::new();
        for number in 0..arguments.number("connections") {
            let stream = TcpStream::connect(arguments.address())?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(
                epoll,
                &stream,
                epoll::EventData::new_u64(number),
                epoll::EventFlags::IN,
            )?;
            connections.push(Connection {
                stream,
                received: Vec::new(),
                due: start,
            });
        }
        Ok(Self {
            free: (0..connections.len()).collect(),
            connections,
            request: format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(),
            start,
            interval,
            skipped,
            sent: 0,
            answered: 0,
            errors: 0,
            latencies: Vec::new(),
        })
    }

    /// Sends what is due, as far as connections are free.
    fn send(&mut self, due: usize) {
        while self.sent < due {
            let Some(number) = self.free.pop_front() else {
                return;
            };
            let connection = &mut self.connections[number];
            connection.due = self.start + self.interval * (self.sent as u32 + 1);
            self.sent += 1;
            // A request is far smaller than an empty socket's buffer.
            if connection.stream.write_all(&self.request).is_err() {
                self.errors += 1;
            }
        }
    }

    fn receive(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        let mut piece = [0; 16 * 1024];
        let read = match connection.stream.read(&mut piece) {
            Ok(0) => 0,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        connection.received.extend_from_slice(&piece[..read]);
        match complete(&connection.received) {
            // The connection was closed under a request, or the answer is not a good one. It is
            // never free again.
            _ if read == 0 => self.errors += 1,
            Some(false) => self.errors += 1,
            Some(true) => self.answer(number),
            None => {}
        }
        if read == 0 {
            // What is closed would wake us for ever.
            let _ = self.connections[number]
                .stream
                .shutdown(std::net::Shutdown::Both);
        }
    }

    fn answer(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        connection.received.clear();
        self.free.push_back(number);
        self.answered += 1;
        if self.answered > self.skipped {
            let latency = connection.due.elapsed();
            self.latencies.push(latency.as_micros() as u32);
        }
    }

    fn tell(&mut self, wanted: usize) {
        self.latencies.sort_unstable();
        let of = |share: f64| {
            let place = (self.latencies.len() as f64 * share) as usize;
            let last = self.latencies.len().saturating_sub(1);
            self.latencies.get(place.min(last)).copied().unwrap_or(0)
        };
        println!(
            r#"{{"requests":{},"errors":{},"unanswered":{},"p50":{},"p99":{},"p999":{},"max":{}}}"#,
            self.latencies.len(),
            self.errors,
            wanted - self.answered - self.errors.min(wanted - self.answered),
            of(0.5),
            of(0.99),
            of(0.999),
            of(1.0),
        );
    }
}

/// Whether a whole answer is there, and a good one.
fn complete(received: &[u8]) -> Option<bool> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&received[..end]).ok()?;
    if !head.starts_with("HTTP/1.1 200") {
        return Some(false);
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let length = name.eq_ignore_ascii_case("content-length");
        length.then(|| value.trim().parse::<usize>().ok())?
    });
    match length {
        Some(length) if received.len() < end + 4 + length => None,
        Some(length) => Some(received.len() == end + 4 + length),
        None => Some(false),
    }
}
