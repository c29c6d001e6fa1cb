use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::*;

const PIECES: usize = 50;

/// A page of so many full pieces, each counted when it is begun.
fn pieces(
    count: usize,
    begun: Arc<AtomicUsize>,
) -> impl FnOnce(&mut Writer) -> Result<(), Failure> {
    move |page| {
        for _ in 0..count {
            begun.fetch_add(1, Relaxed);
            page.write_all(&[b'x'; PIECE])?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_long_page_is_made_no_further_than_it_is_read() {
    let begun = Arc::new(AtomicUsize::new(0));
    let mut body = Body::write(pieces(PIECES, Arc::clone(&begun)))
        .await
        .unwrap();
    let (mut frames, mut bytes) = (0, 0);
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().into_data().unwrap().len();
        frames += 1;
        // One waits in the channel and one for room in it, and the one after is being filled.
        assert!(begun.load(Relaxed) <= frames + 3, "{frames}");
    }
    assert_eq!(bytes, PIECES * PIECE);
    assert_eq!(frames, PIECES + 1);
}

#[tokio::test]
async fn the_length_of_a_short_page_is_known() {
    let write = |page: &mut Writer| page.json(&[1, 2]);
    let body = Body::write(write).await.unwrap();
    let expected = "[\n  1,\n  2\n]\n";
    let length = hyper::body::Body::size_hint(&body).exact();
    assert_eq!(length, Some(expected.len() as u64));
    assert_eq!(body.collect().await.unwrap().to_bytes(), expected);
}

#[tokio::test]
async fn a_page_that_fails_is_none_or_is_cut() {
    let early = Body::write(|_: &mut Writer| Err(Failure::Cut)).await;
    assert!(early.is_none());
    let panics = Body::write(|_: &mut Writer| panic!("as a bug would")).await;
    assert!(panics.is_none());
    let late = |page: &mut Writer| {
        page.write_all(&[b'x'; PIECE])?;
        Err(Failure::Format(fmt::Error))
    };
    let cut = Body::write(late).await.unwrap().collect().await;
    assert!(matches!(cut, Err(Failure::Cut)));
}

#[tokio::test]
async fn a_page_that_nobody_reads_any_more_is_not_made_further() {
    let (tell, told) = oneshot::channel();
    let begun = Arc::new(AtomicUsize::new(0));
    let write = pieces(PIECES, Arc::clone(&begun));
    let body = Body::write(move |page: &mut Writer| {
        let written = write(page);
        let _ = tell.send(matches!(written, Err(Failure::Unread(_))));
        written
    });
    drop(body.await.unwrap());
    assert!(told.await.unwrap());
    assert!(begun.load(Relaxed) < PIECES);
}
