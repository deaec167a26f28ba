//! Bodies of requests: bounded, in time, and wiped.

use super::super::{App, Room, Share};
use super::Problem;
use crate::error::Kind;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// A body, and its part of what all may take.
pub struct Bytes {
    /// The bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// To be kept as long as the bytes are.
    pub share: Share,
}

/// The least that a body is given room for, when its first bytes come.
const FIRST: usize = 4 << 10;

/// Reads a body of at most `limit` bytes. What was announced and has not come takes no room from others.
///
/// Errors: `E-TOO-LARGE`, `E-BUSY`, `E-SLOW`, `E-REQUEST`.
pub async fn read(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, Problem> {
    receive(&app.bodies, app.limits.body_time, headers, body, limit).await
}

/// Reads a batch.
///
/// Errors: those of [`read`].
pub async fn read_batch(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    receive(&app.batches, app.limits.body_time, headers, body, app.limits.batch_bytes).await
}

async fn receive(
    room: &Room,
    time: Duration,
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(Kind::TooLarge, format!("a body has at most {limit} bytes here"));
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    // Without a length it may be as large as any.
    let size = length.and_then(|length| length.parse::<usize>().ok()).unwrap_or(limit);
    if size > limit {
        return Err(too_large());
    }
    let mut received = Bytes { bytes: Zeroizing::default(), share: room.share() };
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|_| Problem::new(Kind::Request, "the body does not come through"))?;
            if let Ok(data) = frame.into_data() {
                if received.bytes.len() + data.len() > size {
                    return Err(too_large());
                }
                received.add(room, &data, size)?;
            }
        }
        Ok(())
    };
    let slow = || Problem::new(Kind::Slow, "the body did not come in time");
    timeout(time, read).await.map_err(|_| slow())??;
    Ok(received)
}

impl Bytes {
    /// Adds bytes, of a body that will have `size` at most. Where they do not fit, all move to twice as much room, and
    /// what they leave behind is wiped.
    fn add(&mut self, room: &Room, data: &[u8], size: usize) -> Result<(), Problem> {
        let (wanted, capacity) = (self.bytes.len() + data.len(), self.bytes.capacity());
        if wanted > capacity {
            let larger = wanted.max(2 * capacity).max(FIRST).min(size);
            let more = larger.saturating_sub(self.share.bytes);
            if !room.add(&mut self.share, more) {
                return Err(full());
            }
            let mut moved = Zeroizing::new(Vec::with_capacity(larger));
            moved.extend_from_slice(&self.bytes);
            self.bytes = moved;
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

/// There is no room for what a request brings.
pub fn full() -> Problem {
    let what = "the bodies of other requests fill the memory for them";
    Problem::new(Kind::Busy, what).after(Duration::from_secs(1))
}

/// Requires one of these media types; nothing said is the first. Gives which.
///
/// Errors: `E-MEDIA-TYPE`.
pub fn media_type(headers: &HeaderMap, known: &[&'static str]) -> Result<usize, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(0) };
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    known
        .iter()
        .position(|known| essence.eq_ignore_ascii_case(known))
        .ok_or_else(|| Problem::new(Kind::MediaType, format!("this takes {}", known.join(" or "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes as Chunk;
    use http_body::Frame;
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::sync::atomic::Ordering;
    use std::task::Poll;
    use tokio::sync::mpsc;

    const TIME: Duration = Duration::from_secs(60);

    fn announcing(length: usize) -> HeaderMap {
        [(header::CONTENT_LENGTH, length.into())].into_iter().collect()
    }

    /// A body that comes as it is sent.
    struct Coming(mpsc::UnboundedReceiver<Chunk>);

    impl http_body::Body for Coming {
        type Data = Chunk;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<Frame<Chunk>, Self::Error>>> {
            self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
        }
    }

    fn coming() -> (mpsc::UnboundedSender<Chunk>, Body) {
        let (send, receive) = mpsc::unbounded_channel();
        (send, Body::new(Coming(receive)))
    }

    /// Goes as far as it comes.
    async fn step<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn what_has_not_come_takes_no_room() {
        const LIMIT: usize = 1 << 20;
        let room = Room::new(LIMIT);
        let used = || room.used.load(Ordering::Relaxed);
        let headers = announcing(LIMIT);
        let (first, body) = coming();
        let mut slow = pin!(receive(&room, TIME, &headers, body, LIMIT));
        assert!(step(slow.as_mut()).await.is_none());
        assert_eq!(used(), 0);
        // Room for what comes, and never for more than twice of it.
        let mut sent = 0;
        for part in [1, FIRST, 3, 100_000, 100_000, 200_000] {
            first.send(vec![(part % 251) as u8; part].into()).unwrap();
            sent += part;
            assert!(step(slow.as_mut()).await.is_none());
            assert!((sent..=(2 * sent).max(FIRST)).contains(&used()), "{sent} {}", used());
        }
        // Others have what is left.
        let whole = vec![7; 100_000];
        let read = |bytes: Vec<u8>| {
            let headers = announcing(bytes.len());
            let room = &room;
            async move { receive(room, TIME, &headers, bytes.into(), LIMIT).await }
        };
        let other = read(whole.clone()).await.unwrap();
        assert_eq!((&*other.bytes, other.bytes.capacity()), (&whole, whole.len()));
        let refused = read(vec![7; LIMIT - used() + 1]).await.err().unwrap();
        assert_eq!((refused.kind, refused.retry_after.is_some()), (Kind::Busy, true));
        drop(other);
        drop(first);
        let all = step(slow.as_mut()).await.unwrap().unwrap();
        assert_eq!(all.bytes.len(), sent);
        assert_eq!(all.bytes[1..FIRST], [(FIRST % 251) as u8; FIRST][1..]);
        drop(all);
        assert_eq!(used(), 0);
    }

    #[tokio::test]
    async fn a_part_of_the_room_is_kept_from_batches() {
        let room = Room::new(4000);
        let batches = room.part(3000);
        let read = |room: Room, bytes: usize| async move {
            receive(&room, TIME, &announcing(bytes), vec![7; bytes].into(), 4000).await
        };
        let first = read(batches.part(3000), 2500).await.unwrap();
        assert_eq!(read(batches.part(3000), 501).await.err().unwrap().kind, Kind::Busy);
        let single = read(room.part(4000), 1500).await.unwrap();
        assert_eq!(read(room.part(4000), 1).await.err().unwrap().kind, Kind::Busy);
        drop((first, single));
        assert_eq!(room.used.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_body_is_no_longer_than_announced_nor_than_what_is_taken() {
        let room = Room::new(1 << 20);
        let read = |headers: HeaderMap, length: usize| {
            let room = &room;
            async move { receive(room, TIME, &headers, vec![1; length].into(), 5000).await }
        };
        for (headers, length) in
            [(announcing(5001), 1), (announcing(10), 11), (HeaderMap::new(), 5001)]
        {
            assert_eq!(read(headers, length).await.err().unwrap().kind, Kind::TooLarge);
        }
        let whole = read(HeaderMap::new(), 5000).await.unwrap();
        assert_eq!((whole.bytes.len(), whole.bytes.capacity()), (5000, 5000));
        let (_stays, body) = coming();
        let slow = receive(&room, Duration::from_millis(5), &announcing(9), body, 5000).await;
        assert_eq!(slow.err().unwrap().kind, Kind::Slow);
    }
}
