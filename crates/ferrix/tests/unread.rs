//! Nobody has to read what Ferrix writes: its streams may be stuck, or their readers gone.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees tests only in functions marked as such"
)]

use std::{
    env,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use ferrix::{log, settings::Log};
use rustix::pipe::{PipeFlags, pipe, pipe_with};

/// How long anything may take before a test fails; far above what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pipe that nobody reads.
struct Unread {
    writer: OwnedFd,
    /// Its end, where it is only not read.
    _reader: Option<OwnedFd>,
}

impl Unread {
    /// The reader has left: writing fails.
    fn left() -> Self {
        let (_, writer) = pipe().unwrap();
        Self {
            writer,
            _reader: None,
        }
    }

    /// The reader does not read, and there is no room: writing blocks.
    fn stuck() -> Self {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let mut file = File::from(writer.try_clone().unwrap());
        let full = loop {
            if let Err(error) = file.write(&[b'x'; 1 << 16]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        // A page at a time was written, and there may be room for less.
        while file.write(b"x").is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        Self {
            writer,
            _reader: Some(reader),
        }
    }

    fn stdio(&self) -> Stdio {
        self.writer.try_clone().unwrap().into()
    }
}

#[test]
fn a_panic_costs_one_thread() {
    for (what, pipe) in [("left", Unread::left()), ("stuck", Unread::stuck())] {
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", "three_panics", "--ignored", "--nocapture"])
            .stdout(Stdio::null())
            .stderr(pipe.stdio())
            .status()
            .unwrap();
        assert!(status.success(), "the reader has {what}: {status}");
    }
}

#[test]
#[ignore = "the test above runs it, in a process of its own"]
fn three_panics() {
    log::start(&Log::default()).unwrap();
    for _ in 0..3 {
        let panicking = thread::spawn(|| panic!("as a test"));
        assert!(panicking.join().is_err());
    }
    log::finish();
}

#[test]
fn traffic_and_the_end_need_no_reader() {
    let mut cases = 0;
    for command in ["run", "demo"] {
        for pipe in [Unread::left(), Unread::stuck()] {
            serve_unread(command, &pipe);
            cases += 1;
        }
    }
    assert_eq!(cases, 4);
}

/// Starts, serves and ends with this pipe as standard output and as standard error.
fn serve_unread(command: &str, pipe: &Unread) {
    // Ports that were free a moment ago: nobody can read which ones it took.
    let free = || TcpListener::bind("127.0.0.1:0").unwrap();
    let [web, admin] = [free(), free()].map(|it| it.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("ferrix.yaml");
    let settings = format!(
        "entry_points: [{{name: web, address: 127.0.0.1, port: {}}}]\nadmin: {{address: '{admin}'}}\n\
         log: {{level: trace}}\naccess_log: {{format: json}}\n\
         server: {{threads: 1, drain_delay: 0s, drain_timeout: 5s}}\n",
        web.port()
    );
    fs::write(&config, settings).unwrap();
    let manifests = tempfile::tempdir().unwrap();
    let mut child = Running(start(command, &config, manifests.path(), pipe));

    wait("it is ready", || {
        TcpStream::connect(admin).is_ok() && status(admin, "/readyz") == 200
    });
    for _ in 0..100 {
        assert_eq!(status(web, "/"), 404);
    }
    assert_eq!(status(admin, "/healthz"), 200);
    let pid = child.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let mut ended: Option<ExitStatus> = None;
    wait("it ends", || {
        ended = child.0.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0), "{command}");
}

fn start(command: &str, config: &Path, manifests: &Path, pipe: &Unread) -> Child {
    let mut program = Command::new(env!("CARGO_BIN_EXE_ferrix"));
    program.args([command, "--config", config.to_str().unwrap()]);
    if command == "run" {
        program.arg("--files");
    }
    (program.arg(manifests))
        .env_remove("FERRIX_LOG")
        .stdin(Stdio::null())
        .stdout(pipe.stdio())
        .stderr(pipe.stdio())
        .spawn()
        .unwrap()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn status(address: SocketAddr, path: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
