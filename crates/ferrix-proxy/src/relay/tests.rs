use h2::{Reason, client, server};
use http::Request;
use tokio::time::sleep;

use super::*;
use crate::stream::{Backlog, HeldBack, SEND_BUFFER, StreamReader};

/// Less than the `h2` crate takes, and more than the connection does.
const BODY: usize = SEND_BUFFER / 2;

/// Whoever takes nothing for a while gets all of a response that has broken off meanwhile, and then a reset.
#[tokio::test(start_paused = true)]
async fn a_reset_does_not_overtake_what_came() {
    let (near, far) = tokio::io::duplex(1024);
    let (mut send, mut connection) = client::handshake(far).await.unwrap();
    let request = Request::get("http://example.com/").body(()).unwrap();
    let (response, _) = send.send_request(request, true).unwrap();
    let mut builder = server::Builder::new();
    builder.max_send_buffer_size(SEND_BUFFER);
    let accepting = async {
        let mut server = builder.handshake::<_, Bytes>(near).await.unwrap();
        let accepted = server.accept().await.unwrap().unwrap();
        (server, accepted)
    };
    let (mut server, (request, respond)) = tokio::select! {
        accepted = accepting => accepted,
        ended = &mut connection => panic!("{ended:?}"),
    };
    tokio::spawn(async move { while server.accept().await.is_some() {} });

    let body = StreamReader::new(request.into_body(), HeldBack::default());
    let mut client = Client::http2(body, respond, Backlog::default());
    let head = ResponseHead::new(StatusCode::OK);
    client.header(head, &Method::GET, false).unwrap();
    client.data(Bytes::from(vec![b'x'; BODY])).unwrap();
    let mut deadline = Deadline::never();
    let cutting = cut(&mut client, &mut deadline, Duration::from_secs(60));
    let reading = async {
        sleep(Duration::from_secs(1)).await;
        tokio::spawn(connection);
        let mut body = response.await.unwrap().into_body();
        let mut got = 0;
        loop {
            match body.data().await.expect("it does not end") {
                Ok(piece) => got += piece.len(),
                Err(error) => return (got, error.reason()),
            }
        }
    };
    let ((), read) = tokio::join!(cutting, reading);
    assert_eq!(read, (BODY, Some(Reason::INTERNAL_ERROR)));
}
