//! What a person's device keeps: a secret and attributes, in a file only its owner may read.
//!
//! `SYID`, version 1, the seed of the secret (56), the attributes' node (32).

use super::hash::{Node, Secret};
use crate::error::{Error, Kind, Result};
use crate::private_file;
use crate::random::fill_random;
use std::path::Path;
use symbolon_core::attest::{Domain, hash};
use zeroize::Zeroizing;

const MAGIC: [u8; 4] = *b"SYID";
const VERSION: u8 = 1;
const HEADER: usize = MAGIC.len() + 1;
const SIZE: usize = HEADER + Secret::SEED + Node::SIZE;
const ATTRIBUTES: Domain = Domain::new("symbolon/identity-attributes/v1");

/// A secret and attributes. Whoever has it is the person.
pub struct Credential {
    seed: Zeroizing<[u8; Secret::SEED]>,
    attributes: Node,
}

impl Credential {
    /// A fresh one. Of `attributes`, any bytes, it keeps a digest: the leaf hides them behind the secret, so
    /// that they need no salt.
    ///
    /// Errors: `E-ENTROPY`.
    pub fn draw(attributes: &[u8]) -> Result<Self> {
        let mut seed = Zeroizing::new([0; Secret::SEED]);
        fill_random(seed.as_mut_slice())?;
        Ok(Self { seed, attributes: Node::of_digest(&hash(ATTRIBUTES, &[attributes])) })
    }

    /// What is enrolled: it tells nothing of secret and attributes.
    #[must_use]
    pub fn leaf(&self) -> Node {
        self.secret().leaf(&self.attributes)
    }

    /// What this credential is known by in a context.
    #[must_use]
    pub fn nullifier(&self, context: &Node) -> Node {
        self.secret().nullifier(context)
    }

    pub(super) fn secret(&self) -> Secret {
        Secret::of_seed(&self.seed)
    }

    pub(super) fn attributes(&self) -> &Node {
        &self.attributes
    }

    /// Writes the file, synced. Errors: `E-IO`, also where there is one: none is overwritten.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut bytes = Zeroizing::new([0; SIZE]);
        bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
        bytes[MAGIC.len()] = VERSION;
        bytes[HEADER..][..Secret::SEED].copy_from_slice(&*self.seed);
        bytes[HEADER + Secret::SEED..].copy_from_slice(&self.attributes.encode());
        private_file::publish(path, &*bytes, true)
    }

    /// Reads the file. Errors: `E-CREDENTIAL`, `E-IO`.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(&*private_file::read::<SIZE>(path, Kind::Credential)?, path)
    }

    /// Parses the content of a file; `path` stands for it in errors. Errors: `E-CREDENTIAL`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let error = |what: &str| Error::new(Kind::Credential, what).in_file(path.to_string_lossy());
        let parts = || {
            let (magic, rest) = bytes.split_first_chunk()?;
            let (version, rest) = rest.split_first()?;
            let (seed, rest) = rest.split_first_chunk()?;
            let attributes: &[u8; Node::SIZE] = rest.try_into().ok()?;
            Some((*magic, *version, seed, attributes))
        };
        let (magic, version, seed, attributes) =
            parts().ok_or_else(|| error("is not as long as a credential"))?;
        if magic != MAGIC {
            return Err(error("is no credential"));
        }
        if version != VERSION {
            return Err(error(&format!("is of version {version}; {VERSION} is known")));
        }
        let attributes =
            Node::decode(attributes).ok_or_else(|| error("its attributes are malformed"))?;
        Ok(Self { seed: Zeroizing::new(*seed), attributes })
    }
}
