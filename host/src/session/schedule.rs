//! The key schedule: HMAC-SHA-256 in the shape of HKDF (RFC 5869), and the transcript that it is bound to.
//!
//! HKDF-Expand of one block is one HMAC over a label and a context, which is all that is needed here: each
//! key comes of its own label. SHA-256 and not the SHA3-256 of the rest, because a resume is a dozen
//! compressions of it, 50 ns each with the processor's instructions, where a permutation of Keccak takes
//! 350.

use crate::isa;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use symbolon_core::attest::{Digest, Domain, bulk};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// A secret of the schedule, or a key.
pub(super) type Secret = Zeroizing<[u8; 32]>;

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

/// HMAC-SHA-256 under a key, of which both padded halves are absorbed once.
pub(super) struct Prf(Hmac<Sha256>);

// Secrets are in its state, which is two of these and a buffer that goes with the same feature. Does not
// compile if the crates' zeroisation is switched off.
const _: () = {
    const fn zeroised<T: ZeroizeOnDrop>() {}
    zeroised::<Sha256>();
};

impl Prf {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        // As the standard pads a shorter key.
        let mut block = Zeroizing::new([0; 64]);
        let (head, _) = block.split_at_mut(32);
        head.copy_from_slice(key);
        Self(Hmac::new((&*block).into()))
    }

    fn of(&self, label: Label, context: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(&[label as u8]);
        context.iter().for_each(|part| mac.update(part));
        // The number of the block (RFC 5869, section 2.3).
        mac.update(&[1]);
        mac
    }

    /// Expands a key. The context's parts have fixed sizes.
    pub(super) fn expand(&self, label: Label, context: &[&[u8]], out: &mut [u8; 32]) {
        let mut made = self.of(label, context).finalize().into_bytes();
        out.copy_from_slice(&made);
        zeroize::Zeroize::zeroize(made.as_mut_slice());
    }

    /// Compares in constant time.
    pub(super) fn is(&self, label: Label, context: &[&[u8]], expected: &[u8; 32]) -> bool {
        self.of(label, context).verify(expected.into()).is_ok()
    }
}

/// HKDF-Extract (RFC 5869, section 2.2).
pub(super) fn extract(salt: &Digest, material: &[u8; 32], out: &mut [u8; 32]) {
    let mut mac = Prf::new(salt).0;
    mac.update(material);
    let mut made = mac.finalize().into_bytes();
    out.copy_from_slice(&made);
    zeroize::Zeroize::zeroize(made.as_mut_slice());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869, appendix A.3, cut to one block: no salt, no info. There the material has 22 bytes and so
    /// is checked through the bare HMAC; the expansion's shape is ours, with a label for info.
    #[test]
    fn it_is_hkdf() {
        let mut mac = Prf::new(&[0; 32]).0;
        mac.update(&[0x0b; 22]);
        let prk: [u8; 32] = mac.finalize().into_bytes().into();
        let hex: String = prk.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04");
        let mut mac = Prf::new(&prk).0;
        mac.update(&[1]);
        let okm: [u8; 32] = mac.finalize().into_bytes().into();
        let hex: String = okm.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
    }

    #[test]
    fn every_label_and_context_gives_another_key() {
        let prf = Prf::new(&[7; 32]);
        let mut seen = std::collections::HashSet::new();
        for label in [Label::Main, Label::ClientRecords, Label::Resumption] {
            for context in [[0; 32], [1; 32]] {
                let mut out = [0; 32];
                prf.expand(label, &[&context], &mut out);
                assert!(prf.is(label, &[&context], &out));
                assert!(!prf.is(Label::Binder, &[&context], &out));
                assert!(seen.insert(out));
            }
        }
    }
}
