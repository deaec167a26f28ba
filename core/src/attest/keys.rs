use super::digest::{Digest, Domain, hash};
use super::{Error, Family, Result, Signatures, Verify, Window};

/// Identifier of a signer's three public keys: the first 16 bytes of the SHA3-256 of length byte,
/// `symbolon/key-set/v1`, and each encoded key after its length. See [`key_id`].
pub type KeyId = [u8; 16];

/// The identifier of three encoded public keys. It binds all three: a set with one key exchanged
/// has another.
#[must_use]
pub fn key_id(
    ml_dsa: &[u8; Family::MlDsa65.public_key_size()],
    fn_dsa: &[u8; Family::FnDsa512Draft.public_key_size()],
    slh_dsa: &[u8; Family::SlhDsaSha2_128f.public_key_size()],
) -> KeyId {
    let digest: Digest = hash(Domain::KEY_SET, &[ml_dsa, fn_dsa, slh_dsa]);
    let mut id = KeyId::default();
    for (to, from) in id.iter_mut().zip(digest) {
        *to = from;
    }
    id
}

/// When keys may sign. Times are those of [`Window::time_ms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first millisecond.
    pub not_before_ms: u64,
    /// The last millisecond.
    pub not_after_ms: u64,
    /// Whether the keys are known or feared to be in other hands.
    pub revoked: bool,
}

impl Validity {
    /// At any time, and not revoked.
    pub const ALWAYS: Self = Self { not_before_ms: 0, not_after_ms: u64::MAX, revoked: false };

    /// Checks that keys may have signed at `time_ms`.
    ///
    /// # Errors
    /// [`Error::Revoked`] whatever the time, since who stole a key writes any time he likes;
    /// [`Error::NotYetValid`], [`Error::Retired`].
    pub const fn check(&self, time_ms: u64) -> Result<()> {
        if self.revoked {
            Err(Error::Revoked)
        } else if time_ms < self.not_before_ms {
            Err(Error::NotYetValid)
        } else if time_ms > self.not_after_ms {
            Err(Error::Retired)
        } else {
            Ok(())
        }
    }
}

impl<T: Verify> Verify for &T {
    const FAMILY: Family = T::FAMILY;

    fn verify(&self, context: Domain, message: &[u8], signature: &[u8]) -> Result<()> {
        T::verify(self, context, message, signature)
    }
}

/// One signer's three public keys, made ready to verify. All three must.
///
/// The keys may be of any back end, or references to them; families in the wrong places do not
/// compile. `id` is taken at its word: it must be the [`key_id`] of these keys.
///
/// ```compile_fail
/// # use symbolon_core::attest::{KeySet, Receipt, Validity, slhdsa::VerifyingKey};
/// let key = VerifyingKey::decode(&[0; _]);
/// let (id, validity) = ([0; 16], Validity::ALWAYS);
/// let keys = KeySet { id, validity, ml_dsa: &key, fn_dsa: &key, slh_dsa: &key };
/// Receipt::decode_exact(&[]).and_then(|receipt| receipt.verify(&keys).copied());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KeySet<M: Verify, F: Verify, S: Verify> {
    /// The [`key_id`] of the three.
    pub id: KeyId,
    /// When they may sign.
    pub validity: Validity,
    /// The key of [`Family::MlDsa65`].
    pub ml_dsa: M,
    /// The key of [`Family::FnDsa512Draft`].
    pub fn_dsa: F,
    /// The key of [`Family::SlhDsaSha2_128f`].
    pub slh_dsa: S,
}

impl<M: Verify, F: Verify, S: Verify> KeySet<M, F, S> {
    /// Each key in its place, or one signature could stand for two.
    const FAMILIES: () = assert!(
        matches!(M::FAMILY, Family::MlDsa65)
            && matches!(F::FAMILY, Family::FnDsa512Draft)
            && matches!(S::FAMILY, Family::SlhDsaSha2_128f)
    );

    /// Checks that these keys are the ones that `window` names, and valid at its time. No signature
    /// is looked at.
    ///
    /// # Errors
    /// [`Error::UnknownKey`]; [`Error::Revoked`], [`Error::NotYetValid`], [`Error::Retired`].
    pub fn check(&self, window: &Window) -> Result<()> {
        self.check_signer(&window.keys, window.time_ms)
    }

    /// Checks that these keys are the ones that a statement names, and valid at its time.
    pub(super) fn check_signer(&self, named: &KeyId, time_ms: u64) -> Result<()> {
        if *named != self.id {
            return Err(Error::UnknownKey);
        }
        self.validity.check(time_ms)
    }

    /// Checks the signature of one family: one of the three.
    pub(super) fn verify(
        &self,
        family: Family,
        context: Domain,
        message: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        const { Self::FAMILIES }
        match family {
            Family::MlDsa65 => self.ml_dsa.verify(context, message, signature),
            Family::FnDsa512Draft => self.fn_dsa.verify(context, message, signature),
            Family::SlhDsaSha2_128f => self.slh_dsa.verify(context, message, signature),
        }
    }

    /// Checks the signatures of all three, in the order of [`Family::ALL`].
    pub(super) fn verify_all(
        &self,
        context: Domain,
        message: &[u8],
        signatures: &Signatures<'_>,
    ) -> Result<()> {
        Family::ALL
            .into_iter()
            .try_for_each(|family| self.verify(family, context, message, signatures.of(family)))
    }
}
