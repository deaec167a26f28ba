//! Who may have a session: asked of others, by a device's digest and what it presents.

use super::message::Presented;
use std::time::Duration;
use symbolon_core::attest::Digest;

/// Says who may have a session. Its work is not the handshake's: it may take as long as a proof takes to verify.
pub trait Admit: Send + Sync {
    /// Judges what a device presents. The device has shown that it holds its key; what it presents is bytes
    /// of its own choice, at most 64 KiB, which must not make this panic.
    ///
    /// `device` is the [digest](super::device::digest) of its public key.
    ///
    /// # Errors
    /// [`Refused::Unknown`] for a fingerprint that is not known: the client is asked for the proof. Said of a
    /// proof it is as good as the other.
    fn admit(&self, device: &Digest, presented: Presented<'_>) -> Result<Admitted, Refused>;
}

/// What a session is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The identities' epoch that was judged by: the session ends when the server's moves on.
    pub identity_epoch: u32,
    /// The longest that the session may last; the server's own limit holds too.
    pub lifetime: Duration,
    /// By what name receipts know what was presented: the digest of the proof.
    pub evidence: Digest,
}

/// Why a session is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// This fingerprint is not known: present the proof.
    Unknown,
    /// No.
    Refused,
    /// It could not be judged: that is no fault of the device's.
    Failed,
}
