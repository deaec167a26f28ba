//! What is proven: public inputs, and the digests that a proof is known by.

use super::hash::Node;
use crate::isa;
use symbolon_core::attest::{Digest, Domain, bulk, hash};

const CONTEXT: Domain = Domain::new("symbolon/identity-context/v1");
const FINGERPRINT: Domain = Domain::new("symbolon/identity-fingerprint/v1");

/// What a proof is for: one device, at one deployment, in one epoch of the tree. A proof holds in its context
/// only, and stays the same all through it, so that who comes back is known by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Of the verifier.
    pub deployment: [u8; 16],
    /// Digest of the device's public key: who proves possession of that key owns the proof.
    pub device: Digest,
    /// The epoch whose root the proof is against.
    pub epoch: u32,
}

impl Context {
    /// As the circuit takes it.
    #[must_use]
    pub fn node(&self) -> Node {
        let Self { deployment, device, epoch } = self;
        Node::of_digest(&hash(CONTEXT, &[deployment, device, &epoch.to_le_bytes()]))
    }
}

/// The public inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Of the tree, all levels deep.
    pub root: Node,
    /// See [`Context::node`].
    pub context: Node,
    /// Of the secret in this context.
    pub nullifier: Node,
}

/// Digest of a proof's bytes, as [leaves](symbolon_core::attest::Leaf::proof) name it: KT128.
/// Who comes back sends it in place of the proof.
#[must_use]
pub fn proof_digest(proof: &[u8]) -> Digest {
    bulk(isa::fastest(), Domain::PROOF, &[proof])
}

impl Statement {
    /// What a verdict is kept under: circuit and parameters, statement, proof.
    #[must_use]
    pub fn fingerprint(&self, circuit: &Digest, proof: &Digest) -> Digest {
        let [root, context, nullifier] =
            [self.root, self.context, self.nullifier].map(|n| n.encode());
        hash(FINGERPRINT, &[circuit, &root, &context, &nullifier, proof])
    }
}
