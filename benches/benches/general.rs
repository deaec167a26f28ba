//! General BFV: rotations, products, and the keys that they take.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use symbolon_benches::owner::Owner;
use symbolon_benches::rows::Rows;
use symbolon_benches::{TURNS, kernels, name, rng, zero};
use symbolon_core::bfv::{
    Ciphertext, GaloisKey, Multiply, Product, Q54, Q81, Q135, RelinKey, Rotation, Switch, Tensor,
};
use symbolon_core::rns::Rns;

/// A key for each of the turns.
type Keys<const L: usize> = [GaloisKey<L>; TURNS.len()];

/// An owner for each capability, and two ciphertexts with their slots.
fn owners<const L: usize, const PARTS: usize>()
-> impl Iterator<Item = (Owner<L, PARTS>, [Rows; 2], [Box<Ciphertext<L>>; 2])>
where
    Rns<L>: Switch,
{
    kernels().into_iter().map(|k| {
        let (mut owner, mut rng) = (Owner::new(k), rng());
        let slots = [(); 2].map(|()| Rows::random(Owner::<L, PARTS>::SLOTS, &mut rng));
        let ciphertexts = slots.each_ref().map(|slots| owner.encrypt(slots));
        (owner, slots, ciphertexts)
    })
}

fn turns<const L: usize, const PARTS: usize>(owner: &mut Owner<L, PARTS>) -> Box<Keys<L>>
where
    Rns<L>: Switch,
{
    let mut keys = zero::<Keys<L>>();
    owner.galois(&TURNS.map(Rotation::Rows), &mut *keys);
    keys
}

/// In place: the noise grows with each call, the time does not.
fn rotate<const L: usize, const PARTS: usize>(c: &mut Criterion)
where
    Rns<L>: Switch,
{
    let mut group = c.benchmark_group(name::<L>("bfv/rotate"));
    for (mut owner, [slots, _], [mut x, _]) in owners::<L, PARTS>() {
        let key = &turns(&mut owner)[0];
        owner.rotate(&mut x, key);
        assert!(owner.decrypt(&x) == slots.turned(TURNS[0]), "turns the rows");
        group.bench_function(owner.kernels().isa(), |b| b.iter(|| owner.rotate(&mut x, key)));
    }
    #[cfg(feature = "peers")]
    symbolon_benches::peers::fhe_rs::rotate::<L>(&mut group);
    group.finish();
}

/// Seven rotations of one ciphertext.
fn hoisted<const L: usize, const PARTS: usize>(c: &mut Criterion)
where
    Rns<L>: Switch,
{
    let mut group = c.benchmark_group(name::<L>("bfv/hoisted"));
    for (mut owner, [slots, _], [x, _]) in owners::<L, PARTS>() {
        let keys = turns(&mut owner);
        let mut rotated = zero::<[Ciphertext<L>; TURNS.len()]>();
        owner.hoisted(&x, &*keys, &mut *rotated);
        for (rotated, places) in rotated.iter().zip(TURNS) {
            assert!(owner.decrypt(rotated) == slots.turned(places), "turns the rows");
        }
        group.bench_function(owner.kernels().isa(), |b| {
            b.iter(|| owner.hoisted(&x, &*keys, &mut *rotated));
        });
    }
    #[cfg(feature = "peers")]
    symbolon_benches::peers::fhe_rs::hoisted::<L>(&mut group);
    group.finish();
}

/// Seven rotations, each of the sum so far, in place.
fn slot_sum<const L: usize, const PARTS: usize>(c: &mut Criterion)
where
    Rns<L>: Switch,
{
    let mut group = c.benchmark_group(name::<L>("bfv/slot-sum"));
    for (mut owner, [slots, _], [mut x, _]) in owners::<L, PARTS>() {
        let keys = turns(&mut owner);
        owner.rotate_sum(&mut x, &*keys);
        assert!(owner.decrypt(&x) == slots.summed(&TURNS), "sums the slots");
        group.bench_function(owner.kernels().isa(), |b| {
            b.iter(|| owner.rotate_sum(&mut x, &*keys));
        });
    }
    #[cfg(feature = "peers")]
    symbolon_benches::peers::fhe_rs::slot_sum::<L>(&mut group);
    group.finish();
}

/// What one seed gives: secret, public and relinearisation key, a Galois key for each turn.
fn keyset<const L: usize, const PARTS: usize>(c: &mut Criterion)
where
    Rns<L>: Switch,
{
    let mut group = c.benchmark_group(name::<L>("bfv/keyset"));
    for (mut owner, [slots, _], [mut x, _]) in owners::<L, PARTS>() {
        let (mut relin, mut galois) = (zero::<RelinKey<L>>(), zero::<Keys<L>>());
        let mut keyset = |owner: &mut Owner<L, PARTS>, galois: &mut Keys<L>| {
            owner.derive();
            owner.relin(&mut relin);
            owner.galois(&TURNS.map(Rotation::Rows), galois);
        };
        keyset(&mut owner, &mut galois);
        owner.rotate_sum(&mut x, &*galois);
        assert!(owner.decrypt(&x) == slots.summed(&TURNS), "the keys sum slots");
        group.bench_function(owner.kernels().isa(), |b| {
            b.iter(|| keyset(&mut owner, &mut galois));
        });
    }
    #[cfg(feature = "peers")]
    symbolon_benches::peers::fhe_rs::keyset::<L>(&mut group);
    group.finish();
}

fn multiply<const L: usize, const PARTS: usize>(c: &mut Criterion)
where
    Rns<L>: Multiply,
{
    let mut made: Vec<_> = owners::<L, PARTS>()
        .map(|(mut owner, slots, [x, y])| {
            let (mut product, mut space) = (zero::<Product<L>>(), zero::<Tensor<L>>());
            let (mut key, mut out) = (zero::<RelinKey<L>>(), zero::<Ciphertext<L>>());
            owner.relin(&mut key);
            product.multiply(owner.kernels(), &x, &y, &mut space);
            owner.relinearise(&product, &key, &mut out);
            assert!(owner.decrypt(&out) == slots[0].times(&slots[1]), "multiplies slot by slot");
            (owner, [x, y], product, space, key, out)
        })
        .collect();

    let mut group = c.benchmark_group(name::<L>("bfv/multiply"));
    for (owner, [x, y], product, space, key, out) in &mut made {
        let k = owner.kernels();
        group.bench_function(k.isa(), |b| {
            b.iter(|| {
                product.multiply(k, x, y, space);
                owner.relinearise(product, key, out);
            });
        });
    }
    #[cfg(feature = "peers")]
    symbolon_benches::peers::fhe_rs::multiply::<L>(&mut group);
    group.finish();

    let mut group = c.benchmark_group(name::<L>("bfv/product"));
    for (owner, [x, y], product, space, ..) in &mut made {
        let k = owner.kernels();
        group.bench_function(k.isa(), |b| b.iter(|| product.multiply(k, x, y, space)));
    }
    group.finish();
    let mut group = c.benchmark_group(name::<L>("bfv/relinearise"));
    for (owner, _, product, _, key, out) in &mut made {
        group.bench_function(owner.kernels().isa(), |b| {
            b.iter(|| owner.relinearise(product, key, out));
        });
    }
    group.finish();
}

criterion_group!(
    rotations,
    rotate::<Q54, 1>,
    rotate::<Q81, 1>,
    rotate::<Q135, 2>,
    hoisted::<Q54, 1>,
    hoisted::<Q81, 1>,
    slot_sum::<Q54, 1>,
    slot_sum::<Q81, 1>,
);
criterion_group!(rest, keyset::<Q54, 1>, keyset::<Q81, 1>, multiply::<Q81, 1>, multiply::<Q135, 2>);
criterion_main!(rotations, rest);
