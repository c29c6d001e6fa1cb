//! Texts that an expression may match, made from its parts.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Longer examples are no use to anybody.
const LONGEST: usize = 1_024;

/// What stands for a class where it may: what is common in names comes first.
const COMMON: [char; 6] = ['a', '1', 'A', '-', '_', '/'];

/// How often something is repeated that may be left out.
#[derive(Clone, Copy)]
pub(super) enum Repeated {
    /// Not at all, or as often as it must be.
    Least,
    /// Once at least.
    Once,
}

/// A text that the expression matches, unless it looks around itself. `None`: a long one, or none.
pub(super) fn example(expression: &Hir, repeated: Repeated) -> Option<String> {
    let mut text = String::new();
    write(expression, repeated, &mut text)?;
    Some(text)
}

fn write(expression: &Hir, repeated: Repeated, text: &mut String) -> Option<()> {
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(character(class)?),
        HirKind::Repetition(repetition) => {
            let least = match repeated {
                Repeated::Least => repetition.min,
                Repeated::Once => repetition
                    .min
                    .max(1)
                    .min(repetition.max.unwrap_or(u32::MAX)),
            };
            for _ in 0..least {
                write(&repetition.sub, repeated, text)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, repeated, text)?,
        HirKind::Concat(parts) => {
            for part in parts {
                write(part, repeated, text)?;
            }
        }
        HirKind::Alternation(parts) => write(parts.first()?, repeated, text)?,
    }
    (text.len() <= LONGEST).then_some(())
}

fn character(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else {
        return None;
    };
    let has = |c: &char| class.iter().any(|it| (it.start()..=it.end()).contains(c));
    let common = COMMON.into_iter().find(has);
    common.or_else(|| class.iter().next().map(|range| range.start()))
}
