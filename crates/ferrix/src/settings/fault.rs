//! A place in the settings file, and what is wrong there.

/// One step from a mapping or a list to what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

pub(super) type Fault = (Vec<Step>, String);

/// `entry_points[0].port`.
pub(super) fn render(path: &[Step]) -> String {
    write_path(path, |index| format!("[{index}]"))
}

/// `entry_points[].port`, as in [`super::keys::KEYS`].
pub(super) fn pattern(path: &[Step]) -> String {
    write_path(path, |_| "[]".into())
}

fn write_path(path: &[Step], index: impl Fn(usize) -> String) -> String {
    path.iter().fold(String::new(), |text, step| match step {
        Step::Key(key) if text.is_empty() => key.clone(),
        Step::Key(key) => format!("{text}.{key}"),
        Step::Index(position) => text + &index(*position),
    })
}

/// The place that `entry_points[0].port` names.
pub(super) fn path(text: &str) -> Vec<Step> {
    text.split(['.', '['])
        .map(|part| match part.strip_suffix(']').map(str::parse) {
            Some(Ok(index)) => Step::Index(index),
            _ => Step::Key(part.into()),
        })
        .collect()
}
