//! Pages in place of failures.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{gateway::MirrorReference, pattern};

/// A page in place of the bodies of failures, be they of a service or of Ferrix: `body`, or what another
/// Service has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorPages {
    /// Statuses, and ranges of them, such as `404` and `500-599`.
    #[schemars(length(min = 1, max = 32))]
    pub statuses: Vec<StatusRange>,
    /// The status of the page. Absent: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 200, max = 599), extend("format" = "int32"))]
    pub status: Option<u16>,
    /// The page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub body: Option<String>,
    /// What the page is. Absent: `text/plain; charset=utf-8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub content_type: Option<String>,
    /// Who has the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<MirrorReference>,
    /// Of `backendRef`: where the page is. `{status}` stands for the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub path: Option<String>,
}

/// A status, or all from one to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last, which may be the first.
    pub last: u16,
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        match first == last {
            true => write!(f, "{first}"),
            false => write!(f, "{first}-{last}"),
        }
    }
}

impl Serialize for StatusRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.first == self.last {
            true => serializer.serialize_u16(self.first),
            false => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RangeVisitor;

        impl de::Visitor<'_> for RangeVisitor {
            type Value = StatusRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status such as 404, or a range such as `500-599`")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<StatusRange, E> {
                let status = u16::try_from(number);
                let status = status
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))?;
                Ok(StatusRange {
                    first: status,
                    last: status,
                })
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<StatusRange, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StatusRange, E> {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                match (first.parse(), last.parse()) {
                    (Ok(first), Ok(last)) => Ok(StatusRange { first, last }),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(RangeVisitor)
    }
}

impl JsonSchema for StatusRange {
    fn schema_name() -> Cow<'static, str> {
        "StatusRange".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Each bound is for the one of both types that it fits.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 400,
            "maximum": 599,
            "pattern": pattern::STATUS_RANGE,
        })
    }
}
