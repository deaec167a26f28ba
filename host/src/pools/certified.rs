//! Supplies whose keys come with certificates: a refill of keys is signed at once, by all three families
//! of the deployment's long-term keys, before any of them is handed out.

use super::{Config, Desk, Failure, Fresh, Key, Supply};
use crate::error::{Error, Kind, Result};
use crate::isa;
use crate::signer::{SignWindow, SignatureSet};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use symbolon_core::attest::{self, Digest, MAX_REFILL, Refill, RefillPath, RefillTree};
use symbolon_core::pool::{KeyId, Material};
use symbolon_platform::clock;

/// Whoever signs refills: [`SigningKeys`](crate::keys::SigningKeys), or a device that holds them.
pub trait SignRefill: SignWindow {
    /// Makes the three signatures. Gives the time of its threads, waiting for a core included, in us.
    ///
    /// Errors: `E-SIGNING`, `E-KEY-VALIDITY`, `E-ENTROPY`.
    fn sign_refill(&self, refill: &Refill, out: &mut SignatureSet) -> Result<f64>;
}

/// A refill and its signatures.
struct Signed {
    refill: Refill,
    signatures: SignatureSet,
    tree: RefillTree,
}

/// What a key is handed out with; see [`attest::Certificate`].
#[derive(Clone)]
pub struct Certificate {
    signed: Arc<Signed>,
    index: u16,
    path: RefillPath,
}

impl Certificate {
    /// To verify, or to encode.
    #[must_use]
    pub fn borrowed(&self) -> attest::Certificate<'_> {
        attest::Certificate {
            refill: self.signed.refill,
            index: self.index,
            path: self.path,
            signatures: self.signed.signatures.borrowed(),
        }
    }

    /// Its bytes: 21 KB.
    ///
    /// Errors: none that a supply's certificates have.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; attest::Certificate::MAX_SIZE];
        let size = self.borrowed().encode(&mut bytes).map_err(unfit)?;
        bytes.truncate(size);
        Ok(bytes)
    }
}

fn unfit(error: attest::Error) -> Error {
    Error::new(Kind::Pool, error.to_string())
}

/// Of each key its refill, and its index there.
type Places = HashMap<(usize, KeyId), (Arc<Signed>, u16)>;

/// The refills of which a key is left.
struct Refills {
    /// What relying parties call the kind.
    name: &'static str,
    keys: Arc<dyn SignRefill>,
    next: AtomicU64,
    /// Consumers come here for certificates only.
    places: Mutex<Places>,
}

impl Refills {
    fn places(&self) -> MutexGuard<'_, Places> {
        // No one panics with the lock in the middle of a change.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn certify<T: Material>(&self, keys: &[Fresh<'_, T>], maker: &mut T::Maker<'_>) -> Result<()> {
        let mut public = vec![0; T::PUBLIC_SIZE];
        let leaf = |key: &Fresh<'_, T>| {
            let made = key.vacancy.public(maker, &mut public);
            made.map_err(|e| Error::new(Kind::Pool, e.to_string()))?;
            Ok(Refill::leaf(self.name, &public))
        };
        let leaves = keys.iter().map(leaf).collect::<Result<Vec<Digest>>>()?;
        let mut tree = RefillTree::new();
        let root = tree.build(isa::fastest(), &leaves).map_err(unfit)?;
        let refill = Refill {
            deployment: self.keys.deployment(),
            keys: self.keys.id(),
            kind: Refill::kind(self.name),
            sequence: self.next.fetch_add(1, Ordering::Relaxed),
            time_ms: clock::unix_ms(),
            count: leaves.len() as u16,
            root,
        };
        let mut signatures = SignatureSet::default();
        self.keys.sign_refill(&refill, &mut signatures)?;
        let signed = Arc::new(Signed { refill, signatures, tree });
        // Before anybody can be handed one of the keys.
        self.places().extend(
            (0..)
                .zip(keys)
                .map(|(index, key)| ((key.pool, key.vacancy.id()), (Arc::clone(&signed), index))),
        );
        Ok(())
    }
}

/// A desk whose keys are certified, as many at once as are wanted.
struct Certifying<D> {
    desk: D,
    refills: Arc<Refills>,
}

impl<T: Material, D: Desk<T>> Desk<T> for Certifying<D> {
    const BATCH: usize = MAX_REFILL;

    fn maker(&mut self) -> T::Maker<'_> {
        self.desk.maker()
    }

    fn finish(&mut self, keys: &mut [Fresh<'_, T>]) -> std::result::Result<(), Failure> {
        self.desk.finish(keys)?;
        self.refills.certify(keys, &mut self.desk.maker()).map_err(Failure::Host)
    }

    fn tidy(&mut self, is_alive: &dyn Fn(usize, KeyId) -> bool) {
        self.desk.tidy(is_alive);
        self.refills.places().retain(|(pool, id), _| is_alive(*pool, *id));
    }
}

/// A supply of certified keys.
///
/// Between the watermarks it waits until a whole refill, or half of what lies between them, is wanted: a signature
/// costs as much for one key as for 64. There is no cold tier.
pub struct CertifiedSupply<T: Material> {
    supply: Supply<T>,
    refills: Arc<Refills>,
}

impl<T: Material> CertifiedSupply<T> {
    /// As [`Supply::start`], with who signs, and what: `name` is what relying parties call the kind, the
    /// algorithm of its public keys, whoever implements it.
    ///
    /// # Errors
    /// As [`Supply::start`]; [`Failure::Settings`] for a cold tier, and for kinds without a public part.
    pub fn start<D: Desk<T>>(
        config: Config,
        name: &'static str,
        keys: Arc<dyn SignRefill>,
        desks: impl Fn() -> std::result::Result<D, Failure> + Send + Sync + 'static,
    ) -> std::result::Result<Self, Failure> {
        if T::PUBLIC_SIZE == 0 {
            return Err(Failure::Settings("keys without a public part cannot be certified"));
        }
        let (next, places) = (AtomicU64::new(0), Mutex::default());
        let refills = Arc::new(Refills { name, keys, next, places });
        let shared = Arc::clone(&refills);
        let supply = Supply::start(config, move || {
            Ok(Certifying { desk: desks()?, refills: Arc::clone(&shared) })
        })?;
        Ok(Self { supply, refills })
    }

    /// A desk that certifies, for [`Supply::fill`] and [`Supply::acquire_or_make`].
    pub fn desk<D: Desk<T>>(&self, desk: D) -> impl Desk<T> + use<T, D> {
        Certifying { desk, refills: Arc::clone(&self.refills) }
    }

    /// The certificate of a key of this supply.
    ///
    /// Errors: `E-POOL` for another supply's key, or one that was made at another desk.
    pub fn certificate(&self, key: &Key<'_, T>) -> Result<Certificate> {
        let place = self.refills.places().get(&key.id()).cloned();
        let (signed, index) =
            place.ok_or_else(|| Error::new(Kind::Pool, "this key was not certified here"))?;
        let mut path = RefillPath::EMPTY;
        signed.tree.path(usize::from(index), &mut path).map_err(unfit)?;
        Ok(Certificate { signed, index, path })
    }

    /// Keys whose certificates are kept: those that live, and for a second those that are gone.
    #[must_use]
    pub fn certified(&self) -> usize {
        self.refills.places().len()
    }
}

impl<T: Material> Deref for CertifiedSupply<T> {
    type Target = Supply<T>;

    fn deref(&self) -> &Supply<T> {
        &self.supply
    }
}
