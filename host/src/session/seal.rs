//! One direction of a channel, or of a handshake: AES-256-GCM (NIST SP 800-38D) with a counter for a nonce.

use super::Refusal;
use super::schedule::{Secret, Wiped};
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::aes::Aes256Enc;
use aes_gcm::{AesGcm, KeyInit, Nonce, Tag};
use std::fmt;
use symbolon_core::attest::family::wiping;
use zeroize::ZeroizeOnDrop;

/// Bytes of a tag.
pub const TAG: usize = 16;

/// Messages under one key. With 64 KiB each, 2^32 blocks: an attacker tells them from random with
/// probability below 2^-64, and forges one of 2^20 that he may try with 2^-96 (SP 800-38D, appendix B).
pub const MAX_RECORDS: u64 = 1 << 20;

/// AES-256-GCM, which decrypts with AES's encryption: the other half of its key is not expanded.
pub(super) type Cipher = AesGcm<Aes256Enc, U12>;

/// Messages of one direction, in order. A key is used in one direction, for one session.
pub(super) struct Half {
    key: Secret,
    /// Of the key, from the first message on.
    cipher: Option<Cipher>,
    next: u64,
}

/// 64-bit words of stack to wipe after a key was expanded, which its crate returns by value.
const STACK: usize = 4 * 1024 / 8;

// Does not compile if the crate's zeroisation is switched off.
const _: () = {
    const fn zeroised<T: ZeroizeOnDrop>() {}
    zeroised::<Cipher>();
};

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half").field("next", &self.next).finish_non_exhaustive()
    }
}

/// AES-256-GCM under a key.
pub(super) fn cipher(key: &[u8; 32]) -> Cipher {
    Cipher::new(key.into())
}

impl Half {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { key: Wiped(*key), cipher: None, next: 0 }
    }

    /// What the next message is sealed with.
    fn next(&mut self) -> Result<(&Cipher, Nonce<U12>), Refusal> {
        if self.next >= MAX_RECORDS {
            return Err(Refusal::Limit);
        }
        let mut nonce = [0; 12];
        if let Some(low) = nonce.last_chunk_mut() {
            *low = self.next.to_be_bytes();
        }
        self.next += 1;
        let Self { key, cipher: expanded, .. } = self;
        if expanded.is_none() {
            wiping::<STACK, _>(|| *expanded = Some(cipher(key)));
        }
        Ok((expanded.as_ref().ok_or(Refusal::Internal)?, nonce.into()))
    }

    /// Encrypts in place and gives the tag; `head` is authenticated too.
    pub(super) fn seal(&mut self, head: &[u8], text: &mut [u8]) -> Result<[u8; TAG], Refusal> {
        let (cipher, nonce) = self.next()?;
        let sealed = cipher.encrypt_inout_detached(&nonce, head, text.into());
        Ok(sealed.map_err(|_| Refusal::Limit)?.into())
    }

    /// Inverse of [`seal`](Self::seal), of `text` with its tag at its end: gives the text. What does not open
    /// is left encrypted, and nothing may follow it.
    pub(super) fn open<'a>(
        &mut self,
        head: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Refusal> {
        let (text, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(Refusal::Malformed)?;
        let (cipher, nonce) = self.next()?;
        cipher
            .decrypt_inout_detached(&nonce, head, (&mut *text).into(), &Tag::from(*tag))
            .map_err(|_| Refusal::Unauthentic)?;
        Ok(text)
    }

    /// As if so many messages had passed: for tests of the limit.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, next: u64) {
        self.next = next;
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use symbolon_platform::scan;

    /// An expanded key begins with the key.
    #[test]
    fn an_expansion_leaves_no_key_behind() {
        const MASK: u8 = 0x5a;
        let mut key = Box::<Secret>::default();
        crate::random::fill_random(&mut **key).unwrap();
        let masked: Vec<u8> = key.iter().map(|byte| byte ^ MASK).collect();
        let count = || scan::count(&masked, MASK, &[]).unwrap();
        let mut half = Box::new(Half { key: Secret::default(), cipher: None, next: 0 });
        half.key.copy_from_slice(&**key);
        drop(key);
        assert_eq!(count(), 1, "where it is kept");
        assert!(half.next().is_ok());
        assert_eq!(count(), 2, "and where it is used");
        drop(half);
        assert_eq!(count(), 0);
    }
}
