//! Chromium, driven by its DevTools protocol over a pipe: Debian's `chromium`, which has to be installed.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kill_on_drop::KillOnDrop;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser without a window, and its one tab. All of it blocks the thread.
pub struct Chromium {
    _process: KillOnDrop,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: String,
    number: u64,
    _profile: TempDir,
}

impl Chromium {
    /// Starts it. `rules`: where hosts are, as in `MAP a.example:80 127.0.0.1:8080`.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(rules: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The protocol is spoken on these two.
        let script = "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut process = Command::new("sh")
            .args(["-c", script, "sh", "--headless", "--no-sandbox"])
            .args(["--remote-debugging-pipe", "--ignore-certificate-errors"])
            // Not all that is asked for by HTTP is to be tried by HTTPS first.
            .args(["--disable-gpu", "--disable-features=HttpsUpgrades"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--host-resolver-rules={rules}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut chromium = Self {
            to: process.stdin.take().unwrap(),
            from: BufReader::new(process.stdout.take().unwrap()),
            _process: KillOnDrop(process),
            session: String::new(),
            number: 0,
            _profile: profile,
        };
        let tab = chromium.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": tab["targetId"], "flatten": true});
        let session = chromium.call("Target.attachToTarget", attach);
        chromium.session = session["sessionId"].as_str().unwrap().to_owned();
        chromium
    }

    /// Goes to a page, and waits until a condition holds there, in JavaScript.
    ///
    /// # Panics
    /// Where that takes longer than a minute.
    pub fn go(&mut self, url: &str, until: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.until(until);
    }

    /// Waits until a condition holds, on whatever page.
    ///
    /// # Panics
    /// Where that takes longer than a minute.
    pub fn until(&mut self, condition: &str) {
        let started = Instant::now();
        // While a page gives way to another there is none.
        while self.evaluate(&format!("!!({condition})")) != true {
            if started.elapsed() > PATIENCE {
                let shown = "location.href + '\\n' + document.body.innerText";
                panic!("not {condition}: {}", self.evaluate(shown));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What an expression comes to on the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true});
        self.call("Runtime.evaluate", asked)["result"]["value"].take()
    }

    /// The names of the cookies that it keeps for a page.
    ///
    /// # Panics
    /// Where it does not say.
    pub fn cookies(&mut self, url: &str) -> Vec<String> {
        let kept = self.call("Network.getCookies", json!({"urls": [url]}));
        let kept = kept["cookies"].as_array().unwrap();
        let names = kept.iter().map(|it| it["name"].as_str().unwrap());
        names.map(str::to_owned).collect()
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.to
            .write_all(format!("{message}\0").as_bytes())
            .expect("Chromium, which has to be installed, runs");
        loop {
            let mut answer = Vec::new();
            self.from.read_until(0, &mut answer).unwrap();
            assert_eq!(answer.pop(), Some(0), "Chromium has ended");
            let mut answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["id"] == self.number {
                return answer["result"].take();
            }
        }
    }
}
