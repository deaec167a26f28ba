//! The key schedule: HMAC-SHA-256 in the shape of HKDF (RFC 5869), and the transcript that it is bound to.
//!
//! HKDF-Expand of one block is one HMAC over a label and a context, which is all that is needed here: each
//! key comes of its own label. SHA-256 and not the SHA3-256 of the rest, because a resume is a dozen
//! compressions of it, 50 ns each with the processor's instructions, where a permutation of Keccak takes
//! 350. HMAC stands here on the bare compression function: in all that it is used for, every length is known
//! and short, and blocks are written before any is hashed.

use crate::isa;
use crate::sha256::{BLOCK, INITIAL, PADDING, compress, pad, write};
use std::ops::{Deref, DerefMut};
use subtle::ConstantTimeEq;
use symbolon_core::attest::{Digest, Domain, bulk};
use zeroize::{DefaultIsZeroes, Zeroize};

/// What is wiped on drop, at once: `Zeroizing` of an array wipes one element after the other.
#[cfg_attr(test, derive(PartialEq, Eq))]
pub(super) struct Wiped<T: DefaultIsZeroes, const N: usize>(pub [T; N]);

impl<T: DefaultIsZeroes, const N: usize> Default for Wiped<T, N> {
    fn default() -> Self {
        Self([T::default(); N])
    }
}

impl<T: DefaultIsZeroes, const N: usize> Drop for Wiped<T, N> {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl<T: DefaultIsZeroes, const N: usize> Deref for Wiped<T, N> {
    type Target = [T; N];

    fn deref(&self) -> &[T; N] {
        &self.0
    }
}

impl<T: DefaultIsZeroes, const N: usize> DerefMut for Wiped<T, N> {
    fn deref_mut(&mut self) -> &mut [T; N] {
        &mut self.0
    }
}

/// A secret of the schedule, or a key.
pub(super) type Secret = Wiped<u8, 32>;

/// What a key is for: the first byte of what is expanded. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Label {
    /// The client's messages of the handshake.
    ClientHandshake = 1,
    /// The server's.
    ServerHandshake = 2,
    /// The session's secret, of the handshake's.
    Main = 3,
    /// The client's records.
    ClientRecords = 4,
    /// The server's records.
    ServerRecords = 5,
    /// What the next ticket carries.
    Resumption = 6,
    /// The proof that a ticket's sender holds its secret.
    Binder = 7,
}

/// The first hash of a transcript: hello, offer, and the ciphertext that follows.
const TRANSCRIPT: Domain = Domain::new("symbolon/session/transcript/v2");
/// One message more.
const STEP: Domain = Domain::new("symbolon/session/transcript-step/v2");

/// KT128 of all that was said so far, which determines it: hello and ciphertext have one length each, so the
/// total tells the offer's.
pub(super) fn transcript(hello: &[u8], offer: &[u8], ciphertext: &[u8]) -> Digest {
    bulk(isa::fastest(), TRANSCRIPT, &[hello, offer, ciphertext])
}

/// The transcript with one message more.
pub(super) fn step(transcript: &Digest, message: &[u8]) -> Digest {
    bulk(isa::fastest(), STEP, &[transcript, message])
}

/// SHA-256 at the end of a block.
pub(super) type State = Wiped<u32, 8>;

/// The longest message: what is left of four blocks beside the padding.
const LONGEST: usize = 4 * BLOCK - PADDING;

/// A message under a padded half of a key: zeros where nothing was written.
type Message = Wiped<u8, { 4 * BLOCK }>;

/// Absorbs one padded half of a key (FIPS 198-1, section 4).
fn begin(state: &mut State, key: &[u8; 32], pad: u8) {
    let mut block = Wiped([pad; BLOCK]);
    block.iter_mut().zip(key).for_each(|(out, byte)| *out ^= byte);
    **state = INITIAL;
    compress(state, std::slice::from_ref(&block));
}

/// HMAC-SHA-256 under a key, of which both padded halves are absorbed once.
pub(super) struct Prf {
    pub(super) inner: State,
    outer: State,
}

impl Prf {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let mut prf = Self { inner: State::default(), outer: State::default() };
        begin(&mut prf.inner, key, 0x36);
        begin(&mut prf.outer, key, 0x5c);
        prf
    }

    /// Of messages of `size` bytes. They are hashed together, and written before: a processor begins the next
    /// while one is not done, if it need not wait for what the next is over.
    fn macs<const N: usize>(
        &self,
        messages: &mut [Message; N],
        size: usize,
        out: [&mut [u8; 32]; N],
    ) {
        let mut states = [(); N].map(|()| Wiped(*self.inner));
        // Each follows on the key's block.
        let mut padded = messages.each_mut().map(|message| pad(message, size, 1));
        for (state, blocks) in states.iter_mut().zip(&mut padded) {
            compress(state, blocks);
        }
        for (state, message) in states.iter_mut().zip(messages.iter_mut()) {
            message.fill(0);
            write(state, &mut message[..32]);
            **state = *self.outer;
        }
        let mut padded = messages.each_mut().map(|message| pad(message, 32, 1));
        for (state, blocks) in states.iter_mut().zip(&mut padded) {
            compress(state, blocks);
        }
        states.iter().zip(out).for_each(|(state, out)| write(state, out));
    }

    /// Expands keys of one context.
    pub(super) fn expand<const N: usize, const SIZE: usize>(
        &self,
        context: &[u8; SIZE],
        keys: [(Label, &mut [u8; 32]); N],
    ) {
        const { assert!(1 + SIZE < LONGEST) };
        let mut messages = [(); N].map(|()| Message::default());
        for (message, (label, _)) in messages.iter_mut().zip(&keys) {
            message[0] = *label as u8;
            message[1..][..SIZE].copy_from_slice(context);
            // The number of the block (RFC 5869, section 2.3).
            message[1 + SIZE] = 1;
        }
        self.macs(&mut messages, 1 + SIZE + 1, keys.map(|(_, out)| out));
    }

    /// Compares in constant time.
    pub(super) fn is<const SIZE: usize>(
        &self,
        label: Label,
        context: &[u8; SIZE],
        expected: &[u8; 32],
    ) -> bool {
        let mut made = Secret::default();
        self.expand(context, [(label, &mut made)]);
        made.ct_eq(expected).into()
    }
}

/// HKDF-Extract (RFC 5869, section 2.2).
pub(super) fn extract(salt: &Digest, material: &[u8; 32], out: &mut [u8; 32]) {
    let mut message = Message::default();
    message[..32].copy_from_slice(material);
    Prf::new(salt).macs(&mut [message], 32, [out]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;

    fn mac(key: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
        let (mut message, mut out) = (Message::default(), [0; 32]);
        message[..bytes.len()].copy_from_slice(bytes);
        Prf::new(key).macs(&mut [message], bytes.len(), [&mut out]);
        out
    }

    /// RFC 5869, appendix A.3, cut to one block: no salt, no info. There the material has 22 bytes and so
    /// is checked through the bare HMAC; the expansion's shape is ours, with a label for info.
    #[test]
    fn it_is_hkdf() {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let prk = mac(&[0; 32], &[0x0b; 22]);
        assert_eq!(hex(prk), "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04");
        let okm = mac(&prk, &[1]);
        assert_eq!(hex(okm), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
    }

    /// Of every length that there is room for.
    #[test]
    fn it_is_hmac() {
        let message: Vec<u8> = (0..LONGEST).map(|i| (i * i + 1) as u8).collect();
        assert_eq!(LONGEST, 247);
        for size in 0..=LONGEST {
            let key = [size as u8; 32];
            let mut expected = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            expected.update(&message[..size]);
            let expected: [u8; 32] = expected.finalize().into_bytes().into();
            assert_eq!(mac(&key, &message[..size]), expected, "{size} bytes");
        }
    }

    /// Together or one by one; and they are HMACs of label, context and 1.
    #[test]
    fn every_label_and_context_gives_another_key() {
        let prf = Prf::new(&[7; 32]);
        let mut seen = std::collections::HashSet::new();
        for context in [[0; 32], [1; 32]] {
            let mut keys = [[0; 32]; 3];
            let labels = [Label::Main, Label::ClientRecords, Label::Resumption];
            let [a, b, c] = &mut keys;
            prf.expand(&context, [(labels[0], a), (labels[1], b), (labels[2], c)]);
            for (label, key) in labels.into_iter().zip(keys) {
                assert_eq!(
                    mac(&[7; 32], &[&[label as u8], context.as_slice(), &[1]].concat()),
                    key
                );
                assert!(prf.is(label, &context, &key));
                assert!(!prf.is(Label::Binder, &context, &key));
                for bit in 0..256 {
                    let mut altered = key;
                    altered[bit / 8] ^= 1 << (bit % 8);
                    assert!(!prf.is(label, &context, &altered));
                }
                assert!(seen.insert(key));
            }
        }
    }
}
