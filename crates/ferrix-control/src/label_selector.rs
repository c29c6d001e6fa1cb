//! Which labels a selector takes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::namespace::Labels;

/// Whether a selector takes what has these labels; `None`: it has an operator that is not known, and
/// takes nothing.
pub(crate) fn takes(selector: &LabelSelector, labels: &Labels) -> Option<bool> {
    let mut equal = selector.match_labels.iter().flatten();
    let mut takes = equal.all(|(name, value)| {
        let label = labels.get(name.as_str());
        label.is_some_and(|label| **label == **value)
    });
    for requirement in selector.match_expressions.iter().flatten() {
        takes &= is_met(requirement, labels)?;
    }
    Some(takes)
}

fn is_met(requirement: &LabelSelectorRequirement, labels: &Labels) -> Option<bool> {
    let label = labels.get(requirement.key.as_str());
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_listed = label.is_some_and(|label| values.iter().any(|value| **value == **label));
    match requirement.operator.as_str() {
        "In" => Some(is_listed),
        // What lacks the label has no value that is listed.
        "NotIn" => Some(!is_listed),
        "Exists" => Some(label.is_some()),
        "DoesNotExist" => Some(label.is_none()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors() {
        let labels: Labels = [("team".into(), "a".into()), ("stage".into(), "test".into())].into();
        let cases = [
            (json!({}), Some(true)),
            (json!({"matchLabels": {"team": "a"}}), Some(true)),
            (json!({"matchLabels": {"team": "b"}}), Some(false)),
            (
                json!({"matchLabels": {"team": "a", "other": "a"}}),
                Some(false),
            ),
            (expression("team", "In", &["a", "b"]), Some(true)),
            (expression("team", "In", &["b"]), Some(false)),
            (expression("other", "In", &["a"]), Some(false)),
            (expression("team", "NotIn", &["a"]), Some(false)),
            (expression("other", "NotIn", &["a"]), Some(true)),
            (expression("team", "Exists", &[]), Some(true)),
            (expression("other", "Exists", &[]), Some(false)),
            (expression("other", "DoesNotExist", &[]), Some(true)),
            (expression("team", "Later", &[]), None),
        ];
        for (selector, expected) in &cases {
            let parsed = serde_json::from_value(selector.clone()).expect("a selector");
            assert_eq!(takes(&parsed, &labels), *expected, "{selector}");
        }
        assert_eq!(cases.len(), 13);
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> serde_json::Value {
        json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
    }
}
