//! An HTTP/1 client that sends any bytes and reads strictly.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    wire::{Body, Framing, Head, ReadError, Reader},
    within,
};

/// A connection to the gateway.
pub struct Client {
    /// What comes.
    pub reader: Reader,
    /// What goes.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// Our side of the connection.
    pub local: Option<SocketAddr>,
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its header section.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
    /// How the end of the body was found.
    pub framing: Framing,
    /// What came after a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Connects by TCP.
    ///
    /// # Panics
    /// Where that fails.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        let local = stream.local_addr().ok();
        Self {
            local,
            ..Self::new(stream)
        }
    }

    /// On a stream that is connected already.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader: Reader::new(reader),
            writer: Box::new(writer),
            local: None,
        }
    }

    /// Sends bytes; whether they arrive is for the answer to say.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = async {
            self.writer.write_all(bytes.as_ref()).await?;
            self.writer.flush().await
        };
        let _ = within("the gateway to read", sent).await;
    }

    /// Closes the sending direction.
    pub async fn end(&mut self) {
        let _ = self.writer.shutdown().await;
    }

    /// The head of the next response, interim ones included.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn head(&mut self) -> Head {
        let head = within("a response", self.reader.head()).await;
        head.expect("a valid response")
            .expect("a response before the end of the connection")
    }

    /// The next response to a request of this method, if it is a whole one.
    pub async fn try_response(&mut self, method: &str) -> Result<Response, ReadError> {
        let read = async {
            let head = self.reader.head().await?.ok_or(ReadError::Cut)?;
            let mut body = head.response_body(method)?;
            let bytes = self.reader.rest(&mut body).await?;
            Ok(response(head, body, bytes))
        };
        within("a response", read).await
    }

    /// The next response, to anything but HEAD.
    ///
    /// # Panics
    /// Where there is none, or not all of it.
    pub async fn response(&mut self) -> Response {
        self.try_response("GET").await.expect("a whole response")
    }

    /// Sends bytes and waits for the response.
    pub async fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(bytes).await;
        self.response().await
    }

    /// Asks for a path of `example.com`.
    pub async fn get(&mut self, path: &str) -> Response {
        self.exchange(get(path)).await
    }

    /// Waits for the end of the connection.
    ///
    /// # Panics
    /// When anything else arrives.
    pub async fn closed(&mut self) {
        let bytes = within("the end of the connection", self.reader.bytes()).await;
        assert_eq!(bytes, None, "instead of the end of the connection");
    }

    /// Waits for the end of the connection, whatever still comes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = async {
            while let Some(bytes) = self.reader.bytes().await {
                rest.extend_from_slice(&bytes);
            }
        };
        within("the end of the connection", read).await;
        rest
    }
}

fn response(head: Head, body: Body, bytes: Vec<u8>) -> Response {
    Response {
        status: head.word(1).parse().expect("a status"),
        framing: body.framing,
        trailers: body.trailers,
        head,
        body: bytes,
    }
}

/// A request for a path of `example.com`.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n")
}

/// One request on a connection of its own.
pub async fn once(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Response {
    Client::connect(address).await.exchange(bytes).await
}
