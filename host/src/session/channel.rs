//! Records: what goes over a session once it stands.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | type: 10 |
//! | 1 | [`Kind`] |
//! | n | sealed message, at most 64 KiB |
//! | 16 | tag, over the two bytes before too |
//!
//! The n-th record of a direction is sealed with the number n for a nonce, so that one which is lost, repeated
//! or moved does not open. What does not open closes the channel: its keys are wiped at once.

use super::message::RECORD;
use super::seal::{Half, TAG};
use super::{MAX_RECORD, Refusal};

/// Bytes of a record beside its message.
pub const RECORD_OVERHEAD: usize = 2 + TAG;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Asks for a decision.
    Probe = 1,
    /// A decision.
    Answer = 2,
    /// The last record of its direction: without it, a stream that ends was cut off.
    Close = 3,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Probe, Self::Answer, Self::Close].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Both directions of a session.
///
/// It is made before there is a session, closed, and filled in place: its keys are where they are used, and
/// wiped when it is dropped. A handshake or a resume puts a session into it, whatever was there.
#[derive(Debug, Default)]
pub struct Channel {
    seal: Option<Half>,
    open: Option<Half>,
}

impl Channel {
    /// Without a session.
    #[must_use]
    pub const fn new() -> Self {
        Self { seal: None, open: None }
    }

    pub(super) fn start(&mut self, seal: &[u8; 32], open: &[u8; 32]) {
        self.seal = Some(Half::new(seal));
        self.open = Some(Half::new(open));
    }

    /// The sealing side, for the message that opens a resumed session.
    pub(super) fn halves(&mut self) -> (&mut Option<Half>, &mut Option<Half>) {
        (&mut self.seal, &mut self.open)
    }

    /// Whether there is a session.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.seal.is_some() && self.open.is_some()
    }

    /// Wipes the keys.
    pub fn close(&mut self) {
        *self = Self::new();
    }

    /// Seals a message as the next record of this direction, at the front of `out`. Gives the record's size:
    /// [`RECORD_OVERHEAD`] more than the message.
    ///
    /// # Errors
    /// [`Refusal::Limit`] for more than 64 KiB, where `out` is too short, and after 2^20 records: then resume.
    /// [`Refusal::Closed`].
    pub fn seal(&mut self, kind: Kind, message: &[u8], out: &mut [u8]) -> Result<usize, Refusal> {
        if message.len() > MAX_RECORD {
            return Err(Refusal::Limit);
        }
        let half = self.seal.as_mut().ok_or(Refusal::Closed)?;
        let size = message.len() + RECORD_OVERHEAD;
        let record = out.get_mut(..size).ok_or(Refusal::Limit)?;
        let (head, rest) = record.split_first_chunk_mut::<2>().ok_or(Refusal::Limit)?;
        let (text, end) = rest.split_last_chunk_mut::<TAG>().ok_or(Refusal::Limit)?;
        *head = [RECORD, kind as u8];
        text.copy_from_slice(message);
        match half.seal(head, text) {
            Ok(tag) => *end = tag,
            Err(refusal) => {
                text.fill(0);
                return Err(refusal);
            }
        }
        if kind == Kind::Close {
            self.seal = None;
        }
        Ok(size)
    }

    /// Opens the next record of the other direction, in place.
    ///
    /// # Errors
    /// Any closes the channel: [`Refusal::Malformed`], [`Refusal::Unauthentic`], [`Refusal::Limit`],
    /// [`Refusal::Closed`].
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<(Kind, &'a [u8]), Refusal> {
        let opened = self.opened(record);
        match &opened {
            Err(_) => self.close(),
            Ok((Kind::Close, _)) => self.open = None,
            Ok(_) => {}
        }
        opened
    }

    fn opened<'a>(&mut self, record: &'a mut [u8]) -> Result<(Kind, &'a [u8]), Refusal> {
        let half = self.open.as_mut().ok_or(Refusal::Closed)?;
        if record.len() > MAX_RECORD + RECORD_OVERHEAD {
            return Err(Refusal::Limit);
        }
        let (head, sealed) = record.split_first_chunk_mut::<2>().ok_or(Refusal::Malformed)?;
        let [RECORD, kind] = *head else { return Err(Refusal::Malformed) };
        let kind = Kind::from_byte(kind).ok_or(Refusal::Malformed)?;
        Ok((kind, half.open(head, sealed)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::seal::MAX_RECORDS;
    use super::*;

    fn pair() -> (Channel, Channel) {
        let (mut a, mut b) = (Channel::new(), Channel::new());
        a.start(&[1; 32], &[2; 32]);
        b.start(&[2; 32], &[1; 32]);
        (a, b)
    }

    fn seal(channel: &mut Channel, message: &[u8]) -> Vec<u8> {
        let mut out = vec![0; message.len() + RECORD_OVERHEAD];
        let size = channel.seal(Kind::Probe, message, &mut out).unwrap();
        assert_eq!(size, out.len());
        out
    }

    #[test]
    fn records_come_in_order_or_not_at_all() {
        let (mut a, mut b) = pair();
        for size in [0, 1, 512, MAX_RECORD] {
            let message = vec![size as u8; size];
            assert_eq!(b.open(&mut seal(&mut a, &message)), Ok((Kind::Probe, &message[..])));
            assert_eq!(a.open(&mut seal(&mut b, &message)), Ok((Kind::Probe, &message[..])));
        }
        let mut out = vec![0; MAX_RECORD + 1 + RECORD_OVERHEAD];
        assert_eq!(a.seal(Kind::Probe, &vec![0; MAX_RECORD + 1], &mut out), Err(Refusal::Limit));
        assert_eq!(a.seal(Kind::Probe, &[0; 8], &mut out[..25]), Err(Refusal::Limit));

        let first = seal(&mut a, b"one");
        let second = seal(&mut a, b"two");
        assert_eq!(b.open(&mut second.clone()), Err(Refusal::Unauthentic), "out of order");
        assert_eq!(b.open(&mut first.clone()), Err(Refusal::Closed), "and nothing after it");
        assert!(!b.is_open());

        let (mut a, mut b) = pair();
        let first = seal(&mut a, b"one");
        assert!(b.open(&mut first.clone()).is_ok());
        assert_eq!(b.open(&mut first.clone()), Err(Refusal::Unauthentic), "replayed");
        let (mut a, _) = pair();
        let mut own = seal(&mut a, b"one");
        assert_eq!(a.open(&mut own), Err(Refusal::Unauthentic), "reflected");
    }

    #[test]
    fn every_byte_counts() {
        let record = seal(&mut pair().0, b"a probe");
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut altered = record.clone();
                altered[at] ^= 1 << bit;
                let (_, mut b) = pair();
                assert!(b.open(&mut altered).is_err(), "byte {at}");
                assert!(!b.is_open());
            }
            let (_, mut b) = pair();
            assert!(b.open(&mut record[..at].to_vec()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_key_serves_so_often_and_no_more() {
        let (mut a, mut b) = pair();
        a.seal.as_mut().unwrap().skip_to(MAX_RECORDS - 1);
        b.open.as_mut().unwrap().skip_to(MAX_RECORDS - 1);
        let mut last = seal(&mut a, b"last");
        assert!(b.open(&mut last).is_ok());
        let mut out = [9; 64];
        assert_eq!(a.seal(Kind::Probe, b"more", &mut out), Err(Refusal::Limit));
        assert_eq!(&out[2..6], &[0; 4], "nothing leaves in clear");
        assert_eq!(b.open(&mut last), Err(Refusal::Limit));
    }

    #[test]
    fn an_end_is_an_end() {
        let (mut a, mut b) = pair();
        let mut out = [0; RECORD_OVERHEAD];
        a.seal(Kind::Close, b"", &mut out).unwrap();
        assert_eq!(a.seal(Kind::Probe, b"", &mut out), Err(Refusal::Closed));
        assert_eq!(b.open(&mut out), Ok((Kind::Close, &b""[..])));
        assert_eq!(b.open(&mut out), Err(Refusal::Closed));
    }

    #[test]
    fn no_key_is_shown() {
        let shown = format!("{:?}", pair().0);
        assert!(!shown.contains("[1, 1"), "{shown}");
    }
}
