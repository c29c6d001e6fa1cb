//! `ferrix check`: all that is wrong with folders of manifests, or with a cluster.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use ferrix_control::{
    Report, Settings,
    files::{self, FolderError},
    kubernetes::Look,
    objects::{Key, Kind},
    report::{Finding, Located, Severity},
};
use ferrix_table::Table;
use serde::Serialize;

use crate::colour;

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

/// One folder or cluster, as JSON.
#[derive(Serialize)]
struct Checked<'r> {
    /// A folder, or `cluster`.
    folder: &'r str,
    problems: usize,
    /// What of a cluster could not be seen, and why.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    withheld: &'r [String],
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

impl<'r> Checked<'r> {
    fn new(folder: &'r str, report: &'r Report, withheld: &'r [String]) -> Self {
        let findings = report.findings().map(|located| Found {
            text: located.to_string(),
            object: located.key,
            finding: located.finding,
        });
        Self {
            folder,
            problems: report.problems().count() + withheld.len(),
            withheld,
            findings: findings.collect(),
        }
    }
}

/// Checks folders, each by itself, and writes what is found. A text has colours.
pub fn check(
    settings: &Settings,
    folders: &[PathBuf],
    format: Format,
    out: &mut impl Write,
) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    for folder in folders {
        let (table, report) = files::load(folder, settings)?;
        let name = folder.display().to_string();
        let one = write_found(&name, &table, &report, &[], format, out)?;
        outcome.problems += one.problems;
        outcome.findings += one.findings;
    }
    Ok(outcome)
}

/// Writes what was found in a cluster. A text has colours.
pub fn check_cluster(look: &Look, format: Format, out: &mut impl Write) -> Result<Outcome, Error> {
    let Look {
        table,
        report,
        withheld,
    } = look;
    write_found("cluster", table, report, withheld, format, out)
}

fn write_found(
    name: &str,
    table: &Table,
    report: &Report,
    withheld: &[String],
    format: Format,
    out: &mut impl Write,
) -> Result<Outcome, Error> {
    let problems = report.problems().count() + withheld.len();
    match format {
        Format::Text => {
            for reason in withheld {
                writeln!(out, "{}", colour::in_style(colour::WRONG, reason))?;
            }
            for located in report.findings() {
                writeln!(out, "{}", coloured(&located))?;
            }
            let routes = report.entries().iter();
            let routes = routes.filter(|it| {
                !it.conditions.is_empty()
                    && !matches!(it.key.kind, Kind::BackendPolicy | Kind::Filter)
            });
            writeln!(
                out,
                "{name}: {} with {}, {}",
                counted(routes.count(), "route"),
                counted(table.rules.len(), "rule"),
                counted(problems, "problem"),
            )?;
        }
        Format::Json => {
            let checked = Checked::new(name, report, withheld);
            serde_json::to_writer_pretty(&mut *out, &checked).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    Ok(Outcome {
        problems,
        findings: report.findings().count() + withheld.len(),
    })
}

/// A finding as it is printed, in the colour of its severity.
fn coloured(located: &Located<'_>) -> String {
    let (place, text) = (located.place(), located.to_string());
    let text = text.strip_prefix(&place).unwrap_or(&text);
    // What follows are a rule and what points at a part of it.
    let (first, rest) = text.split_at(text.find('\n').unwrap_or(text.len()));
    let style = match located.finding.severity {
        Severity::Problem => colour::WRONG,
        Severity::Warning => colour::DOUBTFUL,
        Severity::Info => colour::REMARK,
    };
    let place = colour::in_style(colour::PLACE, &place);
    format!("{place}{}{rest}", colour::in_style(style, first))
}

/// `1 rule`, `2 rules`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
