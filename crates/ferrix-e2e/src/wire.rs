//! HTTP/1 as a strict receiver reads it (RFC 9112): whatever two receivers could read in two ways
//! is an error here.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A header section of a request or a response.
#[derive(Clone, Debug)]
pub struct Head {
    /// As received, with the empty line.
    pub raw: Vec<u8>,
    /// The request line or the status line.
    pub start: String,
    /// Names and values in their order.
    pub fields: Vec<(String, String)>,
}

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The connection ended within the message.
    Cut,
    /// The message is malformed or ambiguous.
    Invalid(String),
}

/// How far a body has been read.
#[derive(Clone, Debug)]
pub struct Body {
    /// How it ends.
    pub framing: Framing,
    state: State,
    /// The fields after the last chunk.
    pub trailers: Vec<(String, String)>,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection. Only responses.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Left(u64),
    ChunkHead,
    ChunkLeft(u64),
    UntilClose,
    Done,
}

/// The receiving half of a connection.
pub struct Reader {
    stream: Box<dyn AsyncRead + Send + Unpin>,
    buffer: BytesMut,
}

impl Head {
    /// The values of the fields of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        (self.fields.iter())
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The value of the field of this name.
    ///
    /// # Panics
    /// Where there are several.
    pub fn one(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "several fields {name}: {values:?}");
        values.first().copied()
    }

    /// Whether there is a field of this name.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The word of the start line at this position.
    pub fn word(&self, position: usize) -> &str {
        self.start.split(' ').nth(position).unwrap_or_default()
    }

    fn parse(raw: &[u8]) -> Result<Self, ReadError> {
        let text = String::from_utf8_lossy(raw);
        let text = text
            .strip_suffix("\r\n\r\n")
            .ok_or_else(|| invalid("no empty line"))?;
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(field).collect::<Result<_, _>>()?;
        if text.replace("\r\n", "").contains(['\r', '\n', '\0']) {
            return Err(invalid("a bare CR, LF or NUL"));
        }
        Ok(Self {
            raw: raw.to_vec(),
            start,
            fields,
        })
    }

    /// The body of a request with this head.
    pub fn request_body(&self) -> Result<Body, ReadError> {
        Ok(Body::new(match self.announced()? {
            Framing::Close => Framing::None,
            framing => framing,
        }))
    }

    /// The body of a response with this head.
    pub fn response_body(&self, method: &str) -> Result<Body, ReadError> {
        let announced = self.announced()?;
        let status = self.word(1);
        let bodiless =
            method == "HEAD" || status.starts_with('1') || status == "204" || status == "304";
        Ok(Body::new(if bodiless { Framing::None } else { announced }))
    }

    fn announced(&self) -> Result<Framing, ReadError> {
        let codings = self.all("transfer-encoding");
        let lengths = self.all("content-length");
        match (&codings[..], &lengths[..]) {
            ([], []) => Ok(Framing::Close),
            (["chunked"], []) => Ok(Framing::Chunked),
            ([], [length]) if is_digits(length) => Ok(Framing::Length(number(length, 10)?)),
            _ => Err(invalid(format!(
                "framing by Transfer-Encoding {codings:?} and Content-Length {lengths:?}"
            ))),
        }
    }
}

fn field(line: &str) -> Result<(String, String), ReadError> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| invalid(format!("no field: {line:?}")))?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(invalid(format!("field name {name:?}")));
    }
    if value
        .bytes()
        .any(|byte| byte.is_ascii_control() && byte != b'\t')
    {
        return Err(invalid(format!("field value {value:?}")));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str, radix: u32) -> Result<u64, ReadError> {
    u64::from_str_radix(text, radix).map_err(|_| invalid(format!("number {text:?}")))
}

fn invalid(reason: impl Into<String>) -> ReadError {
    ReadError::Invalid(reason.into())
}

impl Body {
    fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Left(length),
            Framing::Chunked => State::ChunkHead,
            Framing::Close => State::UntilClose,
        };
        Self {
            framing,
            state,
            trailers: Vec::new(),
        }
    }

    /// Whether it has been read to its end.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }
}

impl Reader {
    /// Reads from here.
    pub fn new(stream: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: BytesMut::new(),
        }
    }

    /// Reads more into the buffer; `false` at the end.
    async fn fill(&mut self) -> bool {
        self.buffer.reserve(64 * 1024);
        // A reset is an end like any other: what was promised did not come.
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(read) if read > 0)
    }

    /// What arrives next, whatever it means. `None`: the connection has ended.
    pub async fn bytes(&mut self) -> Option<Bytes> {
        if self.buffer.is_empty() && !self.fill().await {
            return None;
        }
        Some(self.buffer.split().freeze())
    }

    /// Exactly so many bytes.
    pub async fn exactly(&mut self, length: usize) -> Result<Bytes, ReadError> {
        while self.buffer.len() < length {
            if !self.fill().await {
                return Err(ReadError::Cut);
            }
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    /// The next header section. `None`: the connection has ended before one.
    pub async fn head(&mut self) -> Result<Option<Head>, ReadError> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Head::parse(&self.buffer.split_to(end + 4)).map(Some);
            }
            let lines = self.buffer.iter().filter(|byte| **byte == b'\n').count();
            if lines
                != self
                    .buffer
                    .windows(2)
                    .filter(|pair| *pair == b"\r\n")
                    .count()
            {
                return Err(invalid("a bare LF"));
            }
            if !self.fill().await {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(ReadError::Cut)
                };
            }
        }
    }

    /// The next piece of a body. `None`: it has ended as it should.
    pub async fn piece(&mut self, body: &mut Body) -> Result<Option<Bytes>, ReadError> {
        loop {
            match body.state {
                State::Done => return Ok(None),
                State::Left(left) => {
                    let piece = self.at_most(left).await?;
                    body.state = match left - piece.len() as u64 {
                        0 => State::Done,
                        left => State::Left(left),
                    };
                    return Ok(Some(piece));
                }
                State::ChunkHead => {
                    let line = self.line().await?;
                    let hex = line.bytes().all(|byte| byte.is_ascii_hexdigit());
                    if !hex || line.is_empty() {
                        return Err(invalid(format!("chunk size {line:?}")));
                    }
                    body.state = match number(&line, 16)? {
                        0 => {
                            body.trailers = self.trailers().await?;
                            State::Done
                        }
                        length => State::ChunkLeft(length),
                    };
                }
                State::ChunkLeft(0) => {
                    if !self.line().await?.is_empty() {
                        return Err(invalid("a chunk without its CRLF"));
                    }
                    body.state = State::ChunkHead;
                }
                State::ChunkLeft(left) => {
                    let piece = self.at_most(left).await?;
                    body.state = State::ChunkLeft(left - piece.len() as u64);
                    return Ok(Some(piece));
                }
                State::UntilClose => {
                    let piece = self.bytes().await;
                    if piece.is_none() {
                        body.state = State::Done;
                    }
                    return Ok(piece);
                }
            }
        }
    }

    /// The rest of a body.
    pub async fn rest(&mut self, body: &mut Body) -> Result<Vec<u8>, ReadError> {
        let mut rest = Vec::new();
        while let Some(piece) = self.piece(body).await? {
            rest.extend_from_slice(&piece);
        }
        Ok(rest)
    }

    async fn at_most(&mut self, limit: u64) -> Result<Bytes, ReadError> {
        if self.buffer.is_empty() && !self.fill().await {
            return Err(ReadError::Cut);
        }
        let length = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(self.buffer.len());
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn line(&mut self) -> Result<String, ReadError> {
        loop {
            if let Some(end) = find(&self.buffer, b"\n") {
                let line = self.buffer.split_to(end + 1);
                let line = String::from_utf8_lossy(&line).into_owned();
                return match line.strip_suffix("\r\n") {
                    Some(line) => Ok(line.to_owned()),
                    None => Err(invalid(format!("a bare LF after {line:?}"))),
                };
            }
            if !self.fill().await {
                return Err(ReadError::Cut);
            }
        }
    }

    async fn trailers(&mut self) -> Result<Vec<(String, String)>, ReadError> {
        let mut trailers = Vec::new();
        loop {
            match &*self.line().await? {
                "" => return Ok(trailers),
                line => trailers.push(field(line)?),
            }
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// A body in chunks of these pieces, with its end.
pub fn chunked(pieces: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in pieces {
        body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    body
}

/// Bytes that are unlike each other at every place, so that a gap or a repetition shows.
pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_u32;
    let mut bytes = Vec::with_capacity(length + 4);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &'static [u8]) -> Result<Vec<u8>, ReadError> {
        let mut reader = Reader::new(bytes);
        let head = reader.head().await?.ok_or(ReadError::Cut)?;
        let mut body = head.request_body()?;
        reader.rest(&mut body).await
    }

    #[tokio::test]
    async fn takes_what_is_clear_and_refuses_the_rest() {
        let good: [(&[u8], &[u8]); 3] = [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
            (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab", b"ab"),
            (
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
                b"ab",
            ),
        ];
        for (bytes, body) in good {
            assert_eq!(read(bytes).await.as_deref(), Ok(body));
        }
        let bad: [&[u8]; 9] = [
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nab0\r\n\r\n",
        ];
        for bytes in bad {
            let result = read(bytes).await;
            assert!(matches!(result, Err(ReadError::Invalid(_))), "{result:?}");
        }
    }
}
