//! Desks for the kinds that need one: `()` does for ML-KEM-768, FN-DSA-512 and SLH-DSA-SHA2-128f.

use super::Desk;
use bytemuck::zeroed_box;
use std::sync::Arc;
use symbolon_core::attest::mldsa::{SeedKey, SigningKey};
use symbolon_core::bfv::{KeyPair, KeyPairMaker, PublicKey, Zero, ZeroMaker};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{BlindMaker, Layout, SeededBlind};
use symbolon_core::poly::{Coeff, Poly};
use zeroize::Zeroize;

/// For seeds of ML-DSA-65 keys: room to expand one in.
#[derive(Default)]
pub struct SeedDesk(Box<Option<SigningKey>>);

impl Desk<SeedKey> for SeedDesk {
    fn maker(&mut self) -> &mut Option<SigningKey> {
        &mut self.0
    }
}

/// Working memory, which holds zeros but for the time in which a key is made: a panic then leaves secrets.
struct Scratch<const L: usize>(Box<Poly<L, Coeff>>);

impl<const L: usize> Scratch<L> {
    fn new() -> Self {
        Self(zeroed_box())
    }
}

impl<const L: usize> Drop for Scratch<L> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// For encryptions of zero under one public key.
pub struct ZeroDesk<const L: usize> {
    kernels: &'static Kernels,
    key: Arc<PublicKey<L>>,
    scratch: Scratch<L>,
}

impl<const L: usize> ZeroDesk<L> {
    /// With working memory of its own.
    #[must_use]
    pub fn new(kernels: &'static Kernels, key: Arc<PublicKey<L>>) -> Self {
        Self { kernels, key, scratch: Scratch::new() }
    }
}

impl<const L: usize> Desk<Zero<L>> for ZeroDesk<L> {
    fn maker(&mut self) -> ZeroMaker<'_, L> {
        ZeroMaker { kernels: self.kernels, key: &self.key, scratch: &mut self.scratch.0 }
    }
}

/// For re-randomisations of what is encrypted under one public key in one layout.
pub struct BlindDesk<const L: usize> {
    kernels: &'static Kernels,
    key: Arc<PublicKey<L>>,
    layout: Layout,
    scratch: Scratch<L>,
}

impl<const L: usize> BlindDesk<L> {
    /// With working memory of its own.
    #[must_use]
    pub fn new(kernels: &'static Kernels, key: Arc<PublicKey<L>>, layout: Layout) -> Self {
        Self { kernels, key, layout, scratch: Scratch::new() }
    }
}

impl<const L: usize> Desk<SeededBlind<L>> for BlindDesk<L> {
    fn maker(&mut self) -> BlindMaker<'_, L> {
        let Self { kernels, key, layout, scratch } = self;
        BlindMaker { kernels, key, layout: *layout, scratch: &mut scratch.0 }
    }
}

/// For BFV key pairs.
pub struct PairDesk<const L: usize> {
    kernels: &'static Kernels,
    scratch: Scratch<L>,
}

impl<const L: usize> PairDesk<L> {
    /// With working memory of its own.
    #[must_use]
    pub fn new(kernels: &'static Kernels) -> Self {
        Self { kernels, scratch: Scratch::new() }
    }
}

impl<const L: usize> Desk<KeyPair<L>> for PairDesk<L> {
    fn maker(&mut self) -> KeyPairMaker<'_, L> {
        KeyPairMaker { kernels: self.kernels, scratch: &mut self.scratch.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Failure, Supply};
    use super::*;
    use crate::isa;
    use symbolon_core::attest::{fndsa, slhdsa};
    use symbolon_core::bfv::Q54;
    use symbolon_core::kem::mlkem;
    use symbolon_core::pool::Material;
    use symbolon_platform::locked::{OnFailure, Options};

    /// Fills a supply, has its replenisher make up for what is taken, and shows a few keys.
    fn supply<T: Material, D: Desk<T>>(
        cold: u32,
        desk: impl Fn() -> D + Clone + Send + Sync + 'static,
        mut show: impl FnMut(&mut T, &mut D),
    ) {
        let memory = Options { on_failure: OnFailure::Degrade, huge: false };
        let settings =
            Config { shards: 1, hot: 4, warm: 2, cold, low: 100, memory, ..Config::of::<T>(1) };
        let desks = desk.clone();
        let supply = Supply::start(settings, move || Ok::<D, Failure>(desks())).unwrap();
        let mut own = desk();
        supply.fill(&mut own, &mut |_| ()).unwrap();
        for _ in 0..12 {
            let mut key = supply.acquire_or_make(&mut own).unwrap();
            show(key.get_mut().unwrap(), &mut own);
        }
        assert!(supply.status().protection.bytes > 0, "{}", T::NAME);
        supply.shut_down(std::time::Duration::from_secs(60)).unwrap();
    }

    /// Public parts, which differ from key to key.
    fn distinct<T: Material, D: Desk<T>>(
        cold: u32,
        desk: impl Fn() -> D + Clone + Send + Sync + 'static,
    ) {
        let mut seen = std::collections::HashSet::new();
        supply(cold, desk, |key: &mut T, desk: &mut D| {
            let mut public = vec![0; T::PUBLIC_SIZE];
            key.public(&mut desk.maker(), &mut public).unwrap();
            assert!(seen.insert(public), "{}: a key twice", T::NAME);
        });
        assert_eq!(seen.len(), 12);
    }

    #[test]
    fn every_kind_can_be_supplied() {
        let k = isa::kernels().unwrap();
        distinct::<mlkem::DecapsulationKey, ()>(4, || ());
        distinct::<fndsa::SigningKey, ()>(4, || ());
        distinct::<slhdsa::SigningKey, ()>(4, || ());
        distinct::<SeedKey, SeedDesk>(4, SeedDesk::default);
        distinct::<KeyPair<Q54>, PairDesk<Q54>>(0, move || PairDesk::new(k));

        let mut pair = zeroed_box::<KeyPair<Q54>>();
        pair.derive(k, &[7; 32], &mut zeroed_box());
        let mut key = zeroed_box::<PublicKey<Q54>>();
        let mut bytes = vec![0; KeyPair::<Q54>::PUBLIC_SIZE];
        pair.public(&mut PairDesk::new(k).maker(), &mut bytes).unwrap();
        symbolon_core::wire::Wire::decode(&mut *key, k, &bytes).unwrap();
        let key: Arc<PublicKey<Q54>> = Arc::from(key);
        let (same, layout) = (Arc::clone(&key), Layout::for_dims(128).unwrap());
        supply::<Zero<Q54>, _>(
            3,
            move || ZeroDesk::new(k, Arc::clone(&same)),
            |zero, _| {
                assert!(zero.is_fresh());
            },
        );
        let mut seeds = std::collections::HashSet::new();
        let desk = move || BlindDesk::new(k, Arc::clone(&key), layout);
        supply::<SeededBlind<Q54>, _>(0, desk, |blind, _| assert!(seeds.insert(*blind.seed())));
    }
}
