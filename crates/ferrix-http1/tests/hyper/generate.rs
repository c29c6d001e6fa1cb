//! Messages by chance: valid ones, and what an attacker makes of them.

/// Numbers by chance, always the same ones (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from[self.below(from.len())]
    }
}

const REQUEST_LINES: &[&[u8]] = &[
    b"GET / HTTP/1.1",
    b"GET /a?b=c&d HTTP/1.1",
    b"POST /a//b/../c%2f HTTP/1.1",
    b"PUT http://a.b:80/c?d HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"HEAD /a HTTP/1.1",
    b"x-Own /{a}|b\" HTTP/1.1",
    b"DELETE /\xc3\xa9 HTTP/1.1",
    b"GET /a HTTP/1.0",
    b"POST /a HTTP/1.0",
];

const STATUS_LINES: &[&[u8]] = &[
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 404 Not Found",
    b"HTTP/1.1 999 ",
    b"HTTP/1.1 500",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 205 Reset Content",
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK",
    b"HTTP/1.0 200 OK",
];

const FIELDS: &[&[u8]] = &[
    b"Host: a",
    b"HOST: b",
    b"Accept:*/*",
    b"accept: \t a, b ",
    b"X-Text: \xe9\xff",
    b"X-Empty:",
    b"Cookie: a=b; c=\"d\"",
    b"cookie: e",
    b"Expect: 100-continue",
    b"TE: trailers",
    b"Connection: keep-alive",
    b"Connection: close",
    b"connection: X, Keep-Alive",
];

/// Fields that may come to a message with another framing.
const FRAMINGS: &[&[u8]] = &[
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"content-length: 6",
    b"Content-Length: 05",
    b"Content-Length: 5, 5",
    b"Content-Length: 5, 6",
    b"Content-Length: 5,",
    b"Content-Length: +5",
    b"Content-Length: -5",
    b"Content-Length:",
    b"Content-Length: 5 5",
    b"Content-Length: 0x5",
    b"Content-Length: 18446744073709551616",
    b"Content-Length: 18446744073709551615",
    b"Content-Length : 5",
    b"Content-Length\t: 5",
    b" Content-Length: 5",
    b"X: y\r\n Content-Length: 5",
    b"X: y\nContent-Length: 5",
    b"X: y\rContent-Length: 5",
    b"Content-Length:\x0b5",
    b"Content_Length: 5",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: CHUNKED",
    b"Transfer-Encoding:\tchunked\t",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked;a=b",
    b"Transfer-Encoding: \"chunked\"",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: \xff, chunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:\r\n chunked",
    b" Transfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"Transfer_Encoding: chunked",
];

const EXTENSIONS: &[&[u8]] = &[b"", b"", b";a", b" ; a=b", b";a=\"b;\xff\"", b"\t"];

const TRAILERS: &[&[u8]] = &[b"", b"", b"A: 1\r\n", b"a:1 \r\nB: \xff\r\nA:\r\n"];

/// What is put between bytes.
const STRAY: &[&[u8]] = &[
    b" ",
    b"\t",
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b"\x7f",
    b"\xff",
    b"0",
    b"5",
    b"f",
    b";",
    b":",
    b",",
    b"0\r\n\r\n",
    b"\r\n ",
    b"+",
    b"-",
    b"0x",
];

/// What stands in the place of a line's end.
const LINE_ENDS: &[&[u8]] = &[
    b"\n",
    b"\r",
    b"\r\r\n",
    b"\n\r",
    b"\r\n\r\n",
    b"",
    b" \r\n",
    b"\r\n ",
];

/// Some requests on one connection.
pub(crate) fn requests(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + random.below(3) {
        message(random, REQUEST_LINES, &mut bytes);
    }
    mutate(random, &mut bytes);
    bytes
}

/// A response, perhaps with more behind it.
pub(crate) fn response(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    message(random, STATUS_LINES, &mut bytes);
    mutate(random, &mut bytes);
    bytes
}

fn message(random: &mut Random, first_lines: &[&[u8]], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    let mut fields = vec![FIELDS[0]; random.below(2)];
    for _ in 0..random.below(4) {
        fields.push(random.pick(FIELDS));
    }
    let length;
    match random.below(3) {
        0 => {}
        1 => {
            body = random.pick(&[b"", b"a", b"hello", b"0\r\n\r\n"]).to_vec();
            length = format!("Content-Length: {}", body.len());
            fields.push(length.as_bytes());
        }
        _ => {
            chunks(random, &mut body);
            fields.push(b"Transfer-Encoding: chunked");
        }
    }
    if random.one_in(4) {
        let place = random.below(fields.len() + 1);
        fields.insert(place, random.pick(FRAMINGS));
    }
    out.extend_from_slice(random.pick(first_lines));
    out.extend_from_slice(b"\r\n");
    for field in fields {
        out.extend_from_slice(field);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body);
}

fn chunks(random: &mut Random, out: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        let data = &b"abcdefghijklmnopqrstuvwxyz"[..1 + random.below(26)];
        out.extend_from_slice(format!("{:x}", data.len()).as_bytes());
        out.extend_from_slice(random.pick(EXTENSIONS));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0");
    out.extend_from_slice(random.pick(EXTENSIONS));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(random.pick(TRAILERS));
    out.extend_from_slice(b"\r\n");
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.below(3) {
        let place = random.below(bytes.len());
        match random.below(8) {
            0 | 1 => replace(bytes, place..place, random.pick(STRAY)),
            2 => replace(bytes, place..place + 1, b""),
            3 => bytes[place] = u8::try_from(random.below(256)).unwrap(),
            4 if random.one_in(3) => bytes.truncate(place.max(1)),
            5 if random.one_in(3) => {
                let end = bytes.len().min(place + 1 + random.below(40));
                let again = bytes[place..end].to_vec();
                replace(bytes, end..end, &again);
            }
            _ => line_end(random, bytes),
        }
    }
}

fn line_end(random: &mut Random, bytes: &mut Vec<u8>) {
    let line_end = |place: &usize| bytes[*place..].starts_with(b"\r\n");
    let places: Vec<_> = (0..bytes.len()).filter(line_end).collect();
    if !places.is_empty() {
        let place = places[random.below(places.len())];
        replace(bytes, place..place + 2, random.pick(LINE_ENDS));
    }
    if bytes.is_empty() {
        bytes.push(b'\n');
    }
}

fn replace(bytes: &mut Vec<u8>, range: std::ops::Range<usize>, with: &[u8]) {
    bytes.splice(range, with.iter().copied());
}
