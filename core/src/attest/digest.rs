//! Domain-separated hashing of everything small: SHA3-256. For what is large, see [`bulk`](super::bulk).
//!
//! Every hash input begins with one length byte and an ASCII [`Domain`], so that no two uses of a
//! hash function ever see the same input. Fields of fixed size follow as they are; a field of
//! variable length is preceded by its length in bytes as a 64-bit little-endian integer, so that
//! the input determines the fields.

use sha3::{Digest as _, Sha3_256};
use zeroize::ZeroizeOnDrop;

/// An output of SHA3-256 (FIPS 202) or KT128 (RFC 9861).
pub type Digest = [u8; 32];

/// The purpose of a hash or of a signature, for instance `symbolon/leaf/v2`.
///
/// Changing what is hashed under a domain means a new version number at its end. As a signature's
/// context string (FIPS 204, section 5.2; FIPS 205, section 10.2) the domain stands without its
/// length byte, which the signature schemes add themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain(&'static str);

impl Domain {
    /// A [`Leaf`](super::Leaf) as a leaf of the batch's Merkle tree.
    pub(super) const LEAF: Self = Self::new("symbolon/leaf/v2");
    /// A [`Batch`](super::Batch) as a leaf of the window's Merkle tree.
    pub(super) const BATCH: Self = Self::new("symbolon/batch/v2");
    /// An inner node of any Merkle tree.
    pub(super) const NODE: Self = Self::new("symbolon/node/v1");
    /// A [`Window`](super::Window) as the next one names it.
    pub(super) const WINDOW_HASH: Self = Self::new("symbolon/window-hash/v1");
    /// Three public keys as one: [`KeyId`](super::KeyId).
    pub(super) const KEY_SET: Self = Self::new("symbolon/key-set/v1");
    /// A key's kind by its name: [`Refill::kind`](super::Refill::kind).
    pub(super) const KEY_KIND: Self = Self::new("symbolon/key-kind/v1");
    /// A public key as a leaf of a refill's Merkle tree: [`Refill::leaf`](super::Refill::leaf).
    pub(super) const REFILL_KEY: Self = Self::new("symbolon/refill-key/v1");
    /// [`commit`] to a claimed identity: [`Leaf::identity`](super::Leaf::identity).
    pub const IDENTITY: Self = Self::new("symbolon/identity/v1");
    /// [`bulk`](super::bulk()) digest of a probe ciphertext: [`Batch::probe`](super::Batch::probe).
    pub const PROBE: Self = Self::new("symbolon/probe/v2");
    /// [`commit`] to a template: [`Leaf::template`](super::Leaf::template).
    pub const TEMPLATE: Self = Self::new("symbolon/template/v1");
    /// [`commit`] to a re-randomisation seed: [`Batch::blind`](super::Batch::blind).
    pub const BLIND: Self = Self::new("symbolon/blind/v1");
    /// [`bulk`](super::bulk()) digest of an identity proof: [`Leaf::proof`](super::Leaf::proof).
    pub const PROOF: Self = Self::new("symbolon/proof/v2");
    /// [`hash`] of the deployment's settings: [`Batch::policy`](super::Batch::policy).
    pub const POLICY: Self = Self::new("symbolon/policy/v1");
    /// [`bulk`](super::bulk()) digest of what the custodian decrypted: [`Batch::result`](super::Batch::result).
    pub const RESULT: Self = Self::new("symbolon/result/v2");

    /// A domain of 1 to 255 ASCII characters.
    ///
    /// # Panics
    /// If `name` is anything else. Evaluated in a `const`, a bad name does not compile.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(name.is_ascii() && !name.is_empty() && name.len() <= u8::MAX as usize);
        Self(name)
    }

    /// The name's ASCII bytes: 1 to 255.
    #[must_use]
    pub const fn as_bytes(&self) -> &'static [u8] {
        self.0.as_bytes()
    }

    /// A hasher that has absorbed the length byte and the name.
    pub(super) fn hasher<H: sha3::Digest>(self) -> H {
        // `new` bounds the length by 255.
        H::new().chain_update([self.0.len() as u8]).chain_update(self.0)
    }
}

// `commit` says so. Does not compile if the crate's zeroisation is switched off.
const _: () = {
    const fn zeroised<T: ZeroizeOnDrop>() {}
    zeroised::<Sha3_256>();
};

/// SHA3-256 of `fields`, each preceded by its length: other boundaries give another digest.
///
/// For public or high-entropy data; what could be guessed needs [`commit`].
#[must_use]
pub fn hash(domain: Domain, fields: &[&[u8]]) -> Digest {
    let mut hasher: Sha3_256 = domain.hasher();
    for field in fields {
        hasher.update((field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
    hasher.finalize().into()
}

/// Hiding and binding commitment to `data`: SHA3-256 of domain, `salt` and length-prefixed `data`.
///
/// A bare hash of a template or of an identity could be confirmed by guessing; 32 secret, uniformly
/// random bytes of salt, used for this one commitment, prevent it. It is opened by showing salt and
/// data. The hasher's state, which has held both, is zeroised. To commit to something large, commit
/// to its [`bulk`](super::bulk()) digest.
#[must_use]
pub fn commit(domain: Domain, salt: &[u8; 32], data: &[u8]) -> Digest {
    let mut hasher: Sha3_256 = domain.hasher();
    hasher.update(salt);
    hasher.update((data.len() as u64).to_le_bytes());
    hasher.update(data);
    hasher.finalize().into()
}
