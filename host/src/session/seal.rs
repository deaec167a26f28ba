//! One direction of a channel, or of a handshake: AES-256-GCM (NIST SP 800-38D) with a counter for a nonce.

use super::Refusal;
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use std::fmt;
use zeroize::ZeroizeOnDrop;

/// Bytes of a tag.
pub const TAG: usize = 16;

/// Messages under one key. With 64 KiB each, 2^32 blocks: an attacker tells them from random with
/// probability below 2^-64, and forges one of 2^20 that he may try with 2^-96 (SP 800-38D, appendix B).
pub const MAX_RECORDS: u64 = 1 << 20;

/// Messages of one direction, in order. A key is used in one direction, for one session.
pub(super) struct Half {
    cipher: Aes256Gcm,
    next: u64,
}

// Does not compile if the crate's zeroisation is switched off.
const _: () = {
    const fn zeroised<T: ZeroizeOnDrop>() {}
    zeroised::<aes_gcm::aes::Aes256>();
};

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half").field("next", &self.next).finish_non_exhaustive()
    }
}

/// AES-256-GCM under a key.
pub(super) fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(key.into())
}

impl Half {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { cipher: cipher(key), next: 0 }
    }

    fn nonce(&mut self) -> Result<Nonce<aes_gcm::aead::consts::U12>, Refusal> {
        if self.next >= MAX_RECORDS {
            return Err(Refusal::Limit);
        }
        let mut nonce = [0; 12];
        if let Some(low) = nonce.last_chunk_mut() {
            *low = self.next.to_be_bytes();
        }
        self.next += 1;
        Ok(nonce.into())
    }

    /// Encrypts in place and gives the tag; `head` is authenticated too.
    pub(super) fn seal(&mut self, head: &[u8], text: &mut [u8]) -> Result<[u8; TAG], Refusal> {
        let nonce = self.nonce()?;
        let sealed = self.cipher.encrypt_inout_detached(&nonce, head, text.into());
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
        let nonce = self.nonce()?;
        self.cipher
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
