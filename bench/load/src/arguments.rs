//! `COMMAND --key value ...`, read by hand: only the benchmark calls this program.

use std::{collections::HashMap, env, str::FromStr, time::Duration};

/// The values given, by key.
pub struct Arguments(HashMap<String, String>);

impl Arguments {
    /// The command, and what follows it.
    pub fn read() -> (String, Self) {
        let mut words = env::args().skip(1);
        let command = words.next().unwrap_or_default();
        let mut values = HashMap::new();
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            values.insert(key.trim_start_matches('-').to_string(), value);
        }
        (command, Self(values))
    }

    /// A value that must be given.
    pub fn text(&self, key: &str) -> &str {
        self.0
            .get(key)
            .unwrap_or_else(|| panic!("--{key} is needed"))
    }

    /// A number that must be given.
    pub fn number<T: FromStr>(&self, key: &str) -> T {
        let text = self.text(key);
        text.parse()
            .unwrap_or_else(|_| panic!("--{key}: {text} is no number"))
    }

    /// `--seconds`, or another key.
    pub fn duration(&self, key: &str) -> Duration {
        Duration::from_secs_f64(self.number(key))
    }

    /// Where the proxy listens.
    pub fn address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.number("port"))
    }
}
