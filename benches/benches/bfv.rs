//! BFV operations, both parameter sets.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use symbolon_benches::{Batch, Pipeline, SEED, kernels, keys, name, rng, zero};
use symbolon_core::bfv::{
    Ciphertext, Plaintext, PublicKey, Q54, Q81, SecretKey, encrypt, generate,
};
use symbolon_core::kernel::Kernels;
use symbolon_core::ntt::N;
use symbolon_core::poly::{Coeff, Mont, Poly};
use symbolon_core::wire::Wire;

/// 4096 slots, encoded; and a ciphertext of them.
struct Fixture<const L: usize> {
    k: &'static Kernels,
    slots: Vec<i32>,
    secret: Box<SecretKey<L>>,
    public: Box<PublicKey<L>>,
    message: Box<Plaintext>,
    ciphertext: Box<Ciphertext<L>>,
    scratch: Box<Poly<L, Coeff>>,
}

impl<const L: usize> Fixture<L> {
    fn new(k: &'static Kernels) -> Self {
        let (secret, public) = keys::<L>(k);
        let slots: Vec<i32> = Batch::new().probes.concat().into_iter().map(i32::from).collect();
        let (mut message, mut ciphertext, mut scratch) = (zero::<Plaintext>(), zero(), zero());
        message.encode_slots(k, &slots).expect("fits");
        encrypt(k, &public, &message, &mut rng(), &mut ciphertext, &mut scratch);
        Self { k, slots, secret, public, message, ciphertext, scratch }
    }
}

fn set<const L: usize>(c: &mut Criterion) {
    let mut fixtures: Vec<_> = kernels().into_iter().map(Fixture::<L>::new).collect();

    let mut group = c.benchmark_group(name::<L>("bfv/keygen"));
    for Fixture { k, secret, public, scratch, .. } in &mut fixtures {
        // The fixture's own seed, so that its keys stay what they are.
        group.bench_function(k.isa(), |b| b.iter(|| generate(k, &SEED, secret, public, scratch)));
    }
    group.finish();

    let mut group = c.benchmark_group(name::<L>("bfv/encrypt"));
    for Fixture { k, public, message, ciphertext, scratch, .. } in &mut fixtures {
        let mut rng = rng();
        group.bench_function(k.isa(), |b| {
            b.iter(|| encrypt(k, public, message, &mut rng, ciphertext, scratch));
        });
    }
    #[cfg(feature = "peers")]
    if L == Q54 {
        symbolon_benches::peers::fhe_rs::encrypt(&mut group);
    }
    group.finish();

    let mut group = c.benchmark_group(name::<L>("bfv/decrypt"));
    for Fixture { k, secret, ciphertext, scratch, slots, .. } in &mut fixtures {
        let (mut plain, mut decoded) = (zero::<Plaintext>(), vec![0; N]);
        let mut decrypt = || {
            secret.decrypt(k, ciphertext, &mut plain, scratch);
            plain.decode_slots(k, &mut decoded[..]).expect("fits");
        };
        decrypt();
        assert!(decoded == *slots, "decrypts to what was encrypted");
        group.bench_function(k.isa(), |b| {
            b.iter(|| {
                secret.decrypt(k, ciphertext, &mut plain, scratch);
                plain.decode_slots(k, &mut decoded[..]).expect("fits");
                decoded[0]
            });
        });
    }
    #[cfg(feature = "peers")]
    if L == Q54 {
        symbolon_benches::peers::fhe_rs::decrypt(&mut group);
    }
    group.finish();

    let mut group = c.benchmark_group(name::<L>("bfv/decrypt-folded"));
    for k in kernels() {
        let mut pipeline = Pipeline::<L>::new(k);
        let users = pipeline.users();
        let folded = pipeline.folded();
        assert_eq!(pipeline.decide(&folded, users), pipeline.expected(users), "right decisions");
        group.bench_function(k.isa(), |b| b.iter(|| pipeline.decide(&folded, users)));
    }
    group.finish();

    let mut group = c.benchmark_group(name::<L>("bfv/multiply-plain"));
    for Fixture { k, secret, message, ciphertext, scratch, slots, .. } in &mut fixtures {
        let mut factor = zero::<Poly<L, Mont>>();
        factor.copy_from(message.to_multiplicand(k, scratch));
        let (mut product, mut decoded) = (zero::<Ciphertext<L>>(), vec![0; N]);
        product.copy_from(ciphertext);
        product.multiply_plain(k, &factor);
        let mut plain = zero::<Plaintext>();
        secret.decrypt(k, &product, &mut plain, scratch);
        plain.decode_slots(k, &mut decoded[..]).expect("fits");
        assert!(decoded.iter().zip(&*slots).all(|(&p, &s)| p == s * s), "multiplies slot by slot");
        group.bench_function(k.isa(), |b| b.iter(|| product.multiply_plain(k, &factor)));
    }
    group.finish();

    let mut group = c.benchmark_group(name::<L>("wire/encode"));
    let mut bytes = vec![0; Ciphertext::<L>::SIZE];
    for Fixture { k, ciphertext, .. } in &mut fixtures {
        group.bench_function(k.isa(), |b| b.iter(|| ciphertext.encode(k, &mut bytes)));
    }
    group.finish();
    let mut group = c.benchmark_group(name::<L>("wire/decode"));
    let mut read = zero::<Ciphertext<L>>();
    for Fixture { k, ciphertext, secret, scratch, message, .. } in &mut fixtures {
        ciphertext.encode(k, &mut bytes).expect("fits");
        read.decode(k, &bytes).expect("well-formed");
        let mut plain = zero::<Plaintext>();
        secret.decrypt(k, &read, &mut plain, scratch);
        assert!(plain.coeffs() == message.coeffs(), "reads what was written");
        group.bench_function(k.isa(), |b| b.iter(|| read.decode(k, &bytes)));
    }
    group.finish();
}

criterion_group!(benches, set::<Q54>, set::<Q81>);
criterion_main!(benches);
