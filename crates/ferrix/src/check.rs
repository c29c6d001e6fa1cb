//! `ferrix check`: all that is wrong with folders of manifests.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use ferrix_control::{
    Report, Settings,
    files::{self, FolderError},
    objects::Key,
    report::Finding,
};
use serde::Serialize;

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One finding on a line, for people and editors.
    #[default]
    Text,
    /// One object for each folder, for programs.
    Json,
}

/// What was found in all folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What keeps something from being served as written.
    pub problems: usize,
    /// Those, and what is worth knowing.
    pub findings: usize,
}

/// Why a folder could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Whoever reads the findings.
    #[error("the findings cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// One folder, as JSON.
#[derive(Serialize)]
struct Folder<'r> {
    folder: String,
    problems: usize,
    findings: Vec<Found<'r>>,
}

/// One finding, as JSON.
#[derive(Serialize)]
struct Found<'r> {
    /// The line that people get.
    text: String,
    object: Option<&'r Key>,
    #[serde(flatten)]
    finding: &'r Finding,
}

impl<'r> Folder<'r> {
    fn new(folder: String, report: &'r Report) -> Self {
        let findings = report.findings().map(|located| Found {
            text: located.to_string(),
            object: located.key,
            finding: located.finding,
        });
        Self {
            folder,
            problems: report.problems().count(),
            findings: findings.collect(),
        }
    }
}

/// Checks folders, each by itself, and writes what is found.
pub fn check(
    settings: &Settings,
    folders: &[PathBuf],
    format: Format,
    out: &mut impl Write,
) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    for folder in folders {
        let (table, report) = files::load(folder, settings)?;
        let problems = report.problems().count();
        outcome.problems += problems;
        outcome.findings += report.findings().count();
        match format {
            Format::Text => {
                for finding in report.findings() {
                    writeln!(out, "{finding}")?;
                }
                let routes = report
                    .entries()
                    .iter()
                    .filter(|it| !it.conditions.is_empty());
                writeln!(
                    out,
                    "{}: {} with {}, {}",
                    folder.display(),
                    counted(routes.count(), "route"),
                    counted(table.rules.len(), "rule"),
                    counted(problems, "problem"),
                )?;
            }
            Format::Json => {
                let folder = Folder::new(folder.display().to_string(), &report);
                serde_json::to_writer_pretty(&mut *out, &folder).map_err(io::Error::from)?;
                writeln!(out)?;
            }
        }
    }
    Ok(outcome)
}

/// `1 rule`, `2 rules`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
