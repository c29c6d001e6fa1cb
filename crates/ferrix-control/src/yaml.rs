//! Text to documents: YAML and JSON, with the line of every field.
//!
//! The tree is built from the parser's events rather than by a serde layer, for three things that
//! no layer gives together: the line of each field survives for messages that are written much
//! later (a service that does not exist is on line 12), a document that is broken does not take
//! its neighbours with it, and aliases and nesting are bounded before memory is spent.

use std::{collections::HashMap, iter, sync::Arc};

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag, options};
use serde_json::{Map, Number, Value};

use crate::names;

/// Deeper documents are refused. Manifests need about 10.
const MAX_DEPTH: usize = 64;

/// Documents with more values than this, after aliases are followed, are refused; in a larger text, with
/// more than one for every eight bytes.
const MAX_VALUES: usize = 500_000;

/// A document that could be read.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Where it says so.
    pub lines: Lines,
}

/// The line of a value, and of all that is below it.
///
/// Kept for every object of a folder and read for messages only. So it is one run of bytes in place
/// of a tree, and leaves out what is on the line of the value that it is in. Lines count from that
/// of the value above, so that objects that are written in the same way share their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    line: u32,
    below: Arc<[u8]>,
}

/// The same while a document is read.
#[derive(Clone, Debug)]
struct Tree {
    line: u32,
    /// Items by their place.
    below: Vec<(String, Tree)>,
}

/// A document that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Line of the file, from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// Reads a YAML file, one document after the other: all of them together can be many times the size
/// of the file. Documents without content are left out.
pub fn documents(text: &str) -> impl Iterator<Item = Result<Document, SyntaxError>> {
    let mut options = options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let max_values = MAX_VALUES.max(text.len() / 8);
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut ended = false;
    iter::from_fn(move || {
        while !ended {
            let mut builder = Builder {
                parser: &mut parser,
                anchors: HashMap::new(),
                values: 0,
                max_values,
            };
            match builder.document() {
                Ok(Some(Document {
                    value: Value::Null, ..
                })) => {}
                Ok(Some(document)) => return Some(Ok(document)),
                Ok(None) => ended = true,
                Err(error) => {
                    ended = !matches!(parser.proceed_next_document(), Ok(true));
                    return Some(Err(error));
                }
            }
        }
        None
    })
}

/// Reads a JSON file: one value, or several one after the other.
pub fn json_documents(text: &str) -> Vec<Result<Document, SyntaxError>> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut documents = Vec::new();
    loop {
        let before = values.byte_offset();
        let blank = text[before..].len() - text[before..].trim_start().len();
        let line = line_of_byte(text, before + blank);
        match values.next() {
            None => break,
            Some(Ok(value)) => documents.push(Ok(Document {
                value,
                lines: Lines::at(line),
            })),
            Some(Err(error)) => {
                documents.push(Err(SyntaxError {
                    line: u32::try_from(error.line()).unwrap_or(u32::MAX),
                    message: error.to_string(),
                }));
                break;
            }
        }
    }
    documents
}

fn line_of_byte(text: &str, offset: usize) -> u32 {
    let newlines = text[..offset].bytes().filter(|byte| *byte == b'\n').count();
    u32::try_from(newlines + 1).unwrap_or(u32::MAX)
}

impl Document {
    /// The documents of a list, each with its own lines; `None` where it is no list.
    pub fn items(&mut self) -> Option<Vec<Document>> {
        let items = self.value.get_mut("items")?.as_array_mut()?;
        let lines = self.lines.child("items");
        let documents = std::mem::take(items).into_iter().enumerate();
        let documents = documents.map(|(place, value)| Document {
            value,
            lines: lines
                .as_ref()
                .map_or(Lines::at(self.lines.line), |lines| lines.item(place)),
        });
        Some(documents.collect())
    }
}

impl Lines {
    /// Everything on this line.
    pub fn at(line: u32) -> Self {
        Self {
            line,
            below: Arc::default(),
        }
    }

    /// The line of the value itself.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The line of a field such as `spec.route.rules[0].matches`, or of the nearest value above
    /// it that is there.
    pub fn of(&self, field: &str) -> u32 {
        let (mut line, mut below) = (self.line, &*self.below);
        let steps = field.split(['.', '[', ']']);
        for step in steps.filter(|step| !step.is_empty()) {
            match find(below, step) {
                Some((further, found)) => {
                    line = line.wrapping_add(further);
                    below = found;
                }
                None => break,
            }
        }
        line
    }

    /// An item, with all that is below it.
    fn item(&self, place: usize) -> Self {
        let item = self.child(&place.to_string());
        item.unwrap_or(Self::at(self.line))
    }

    /// A field or an item, with all that is below it.
    fn child(&self, name: &str) -> Option<Self> {
        let (further, below) = find(&self.below, name)?;
        Some(Self {
            line: self.line.wrapping_add(further),
            below: names::shared_bytes(below),
        })
    }
}

impl From<&Tree> for Lines {
    fn from(tree: &Tree) -> Self {
        Self {
            line: tree.line,
            below: names::shared_bytes(&tree.bytes()),
        }
    }
}

impl Tree {
    fn at(line: u32) -> Self {
        Self {
            line,
            below: Vec::new(),
        }
    }

    fn child(&self, name: &str) -> Option<&Self> {
        let mut below = self.below.iter();
        below.find(|(it, _)| it == name).map(|(_, tree)| tree)
    }

    /// For each child: its name, how many lines it is further on, and what is below it in the same
    /// form; before the name and before what is below, their lengths.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, child) in &self.below {
            let below = child.bytes();
            if child.line == self.line && below.is_empty() {
                continue;
            }
            put_number(&mut bytes, name.len());
            bytes.extend_from_slice(name.as_bytes());
            // What an alias stands for may be above.
            let further = child.line.wrapping_sub(self.line);
            put_number(&mut bytes, further as usize);
            put_number(&mut bytes, below.len());
            bytes.extend_from_slice(&below);
        }
        bytes
    }
}

/// The child of this name: how many lines it is further on, and what is below it.
fn find<'b>(mut bytes: &'b [u8], name: &str) -> Option<(u32, &'b [u8])> {
    loop {
        let length = take_number(&mut bytes)?;
        let it = bytes.split_off(..length)?;
        let further = take_number(&mut bytes)?;
        let length = take_number(&mut bytes)?;
        let below = bytes.split_off(..length)?;
        if it == name.as_bytes() {
            return Some((u32::try_from(further).ok()?, below));
        }
    }
}

/// Seven bits in each byte, the lowest first; all bytes but the last have the eighth set.
fn put_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let byte = *bytes.split_off_first()?;
        number |= usize::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Builds one document from the parser's events.
struct Builder<'p, 't> {
    parser: &'p mut Parser<'t, StrInput<'t>>,
    /// Only finished values: an alias cannot name what contains it.
    anchors: HashMap<usize, (Value, Tree, usize)>,
    values: usize,
    max_values: usize,
}

impl<'t> Builder<'_, 't> {
    /// The next document, or `None` at the end of the text.
    fn document(&mut self) -> Result<Option<Document>, SyntaxError> {
        loop {
            match self.next()? {
                Some((Event::StreamEnd, _)) | None => return Ok(None),
                Some((Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _)) => {}
                Some((event, span)) => {
                    let (value, lines) = self.value(event, span)?;
                    let lines = Lines::from(&lines);
                    return Ok(Some(Document { value, lines }));
                }
            }
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, SyntaxError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => Err(SyntaxError {
                line: line(error.marker().line()),
                message: error.info(),
            }),
        }
    }

    /// An event inside a document, where the end of the text is an error.
    fn inside(&mut self, open: u32) -> Result<(Event<'t>, Span), SyntaxError> {
        self.next()?.ok_or_else(|| SyntaxError {
            line: open,
            message: "the document ends in the middle of this value".to_owned(),
        })
    }

    /// The value that starts with this event. The recursion is as deep as the document, which the
    /// parser has bounded.
    fn value(&mut self, event: Event<'t>, span: Span) -> Result<(Value, Tree), SyntaxError> {
        let start = line(span.start.line());
        self.count(1, start)?;
        let values_before = self.values;
        let (anchor, value, lines) = match event {
            Event::Alias(anchor) => return self.alias(anchor, start),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref(), start)?;
                (anchor, value, Tree::at(start))
            }
            Event::SequenceStart(_, anchor, _) => {
                let (value, lines) = self.sequence(start)?;
                (anchor, value, lines)
            }
            Event::MappingStart(_, anchor, _) => {
                let (value, lines) = self.mapping(start)?;
                (anchor, value, lines)
            }
            _ => {
                return Err(SyntaxError {
                    line: start,
                    message: "expected a value".to_owned(),
                });
            }
        };
        if anchor != 0 {
            let size = self.values - values_before + 1;
            self.anchors
                .insert(anchor, (value.clone(), lines.clone(), size));
        }
        Ok((value, lines))
    }

    fn sequence(&mut self, start: u32) -> Result<(Value, Tree), SyntaxError> {
        let mut items = Vec::new();
        let mut lines = Vec::new();
        loop {
            let (event, span) = self.inside(start)?;
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            let (item, line) = self.value(event, span)?;
            items.push(item);
            lines.push((lines.len().to_string(), line));
        }
        let lines = Tree {
            line: start,
            below: lines,
        };
        Ok((Value::Array(items), lines))
    }

    fn mapping(&mut self, start: u32) -> Result<(Value, Tree), SyntaxError> {
        let mut fields = Map::new();
        let mut lines: Vec<(String, Tree)> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.inside(start)?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_line = line(span.start.line());
            let plain = matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let name = match self.value(event, span)?.0 {
                Value::String(name) => name,
                // As the tools of Kubernetes do: `8080: x` has the key `8080`.
                key @ (Value::Number(_) | Value::Bool(_)) => key.to_string(),
                _ => {
                    return Err(SyntaxError {
                        line: key_line,
                        message: "a key must be a text".to_owned(),
                    });
                }
            };
            let (event, span) = self.inside(key_line)?;
            let (value, mut value_lines) = self.value(event, span)?;
            if plain && name == "<<" {
                merged.push((value, value_lines, key_line));
                continue;
            }
            if fields.contains_key(&name) {
                return Err(SyntaxError {
                    line: key_line,
                    message: format!("the key `{name}` is there twice"),
                });
            }
            // A field is where its name is.
            value_lines.line = key_line;
            lines.push((name.clone(), value_lines));
            fields.insert(name, value);
        }
        for (value, value_lines, key_line) in merged {
            merge(&mut fields, &mut lines, value, &value_lines, key_line)?;
        }
        let lines = Tree {
            line: start,
            below: lines,
        };
        Ok((Value::Object(fields), lines))
    }

    fn alias(&mut self, anchor: usize, start: u32) -> Result<(Value, Tree), SyntaxError> {
        let Some((value, lines, size)) = self.anchors.get(&anchor) else {
            return Err(SyntaxError {
                line: start,
                message: "the alias refers to a value that contains it".to_owned(),
            });
        };
        let (value, lines, size) = match self.values.saturating_add(*size) > self.max_values {
            true => (Value::Null, Tree::at(start), *size),
            false => (value.clone(), lines.clone(), *size),
        };
        self.count(size, start)?;
        Ok((value, lines))
    }

    fn count(&mut self, values: usize, at: u32) -> Result<(), SyntaxError> {
        self.values = self.values.saturating_add(values);
        match self.values > self.max_values {
            true => Err(SyntaxError {
                line: at,
                message: format!("the document has more than {} values", self.max_values),
            }),
            false => Ok(()),
        }
    }
}

/// `<<: *base`: fields that are not there yet.
fn merge(
    fields: &mut Map<String, Value>,
    lines: &mut Vec<(String, Tree)>,
    value: Value,
    value_lines: &Tree,
    at: u32,
) -> Result<(), SyntaxError> {
    match value {
        Value::Object(more) => {
            for (name, value) in more {
                if !fields.contains_key(&name) {
                    let line = value_lines.child(&name).cloned().unwrap_or(Tree::at(at));
                    lines.push((name.clone(), line));
                    fields.insert(name, value);
                }
            }
            Ok(())
        }
        Value::Array(bases) => {
            for (place, base) in bases.into_iter().enumerate() {
                let below = value_lines.child(&place.to_string()).cloned();
                let below = below.unwrap_or(Tree::at(at));
                merge(fields, lines, base, &below, at)?;
            }
            Ok(())
        }
        _ => Err(SyntaxError {
            line: at,
            message: "`<<` merges mappings only".to_owned(),
        }),
    }
}

fn line(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// What a scalar means in YAML's core schema, and by its tag if it has one.
fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: u32,
) -> Result<Value, SyntaxError> {
    let string = || Value::String(text.to_owned());
    match tag.map(|tag| (tag, tag.core_suffix())) {
        None if style == ScalarStyle::Plain => Ok(plain(text)),
        None | Some((_, Some("str"))) => Ok(string()),
        // `! text` is a text.
        Some((tag, None)) if tag.suffix().is_empty() || tag.parts() == ("", "!") => Ok(string()),
        Some((_, Some("null" | "bool" | "int" | "float"))) => Ok(plain(text)),
        Some((tag, _)) => Err(SyntaxError {
            line: at,
            message: format!("the tag `{}` is not supported", tag.original()),
        }),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return match digits.starts_with(['+', '-']) {
                true => None,
                false => u64::from_str_radix(digits, radix).ok().map(Number::from),
            };
        }
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let starts = digits.strip_prefix('.').unwrap_or(digits);
    if !starts.starts_with(|first: char| first.is_ascii_digit())
        || !digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
    {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    text.parse::<i64>()
        .map(Number::from)
        .or_else(|_| text.parse::<u64>().map(Number::from))
        .ok()
        .or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64))
}

#[cfg(test)]
mod tests;
