//! Secrets marked as undefined, for memcheck to follow: `cargo xtask ct` runs this under valgrind.
//!
//! Every operation that touches a secret runs twice for each capability: as it is, and with its
//! secrets poisoned. Memcheck reports each branch and each address that depends on one. Results are
//! declassified and must agree with the portable run without poison, so that what was watched is
//! the real work. Run by `cargo test`, without valgrind, only that agreement is checked; and under
//! valgrind no processor has AVX-512.
//!
//! Arguments: the capabilities to watch, all of them if none is named; or `--leak`, to leak on
//! purpose, since a check must be able to fail.
#![forbid(unsafe_code)]

use bytemuck::Zeroable;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use symbolon_core::bfv::{
    Ciphertext, GaloisKey, Hoisted, KeyGen, Multiply, Plaintext, Product, PublicKey, Q54, Q81,
    Q135, RelinKey, Rotation, SecretKey, SeededCiphertext, Tensor, Zero, encrypt, generate,
};
use symbolon_core::cap::Scalar;
use symbolon_core::ct::{declassify, errors, is_poisoned, is_watched, poison};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Blind, Folded, Layout, MAX_USERS, Threshold, fold};
use symbolon_core::poly::{Coeff, Poly};
use symbolon_core::rns::Rns;
use symbolon_core::wire::Wire;
use symbolon_platform::cpu;

const LAYOUT: Layout = Layout::D128;
const LANES: u32 = 0x7fff_ffff;
/// Slots, and what [`general`] makes of them.
const SLOTS: [i32; 4] = [7, 3, -5, 11];
const SQUARES: [i32; 3] = [9, 25, 121];

fn main() {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.iter().any(|arg| arg == "--leak") {
        return leak();
    }
    // Options of the usual test harness mean nothing here.
    wanted.retain(|arg| !arg.starts_with('-'));
    if !is_watched() {
        println!("not run by valgrind: only results are compared");
    }
    let scalar = Kernels::scalar(Scalar);
    let (q54, q81) = (story::<Q54>(scalar, false), story::<Q81>(scalar, false));
    let (one, two) = (general::<Q81, 1>(scalar, false), general::<Q135, 2>(scalar, false));
    assert!(one.slots[..3] == SQUARES && two.slots[..3] == SQUARES);
    assert!((q54.accepted, q54.refused) == (1, false) && (q81.accepted, q81.refused) == (1, false));
    for capability in cpu::available() {
        let name = capability.name();
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            let k = Kernels::select(capability);
            assert_eq!(k.isa(), name, "no kernels are written for it");
            assert!(story::<Q54>(k, true) == q54, "{name}, Q54: another result");
            assert!(story::<Q81>(k, true) == q81, "{name}, Q81: another result");
            assert!(general::<Q81, 1>(k, true) == one, "{name}, Q81: another square");
            assert!(general::<Q135, 2>(k, true) == two, "{name}, Q135: another square");
            println!("{name}: done");
        }
    }
}

/// Leaks by a branch and by an address. (Both sides of the branch print, lest it become a
/// selection.)
fn leak() {
    let table: [u8; 256] = core::array::from_fn(|i| i as u8 ^ 0x5a);
    let mut secret = core::hint::black_box([7u8, 9]);
    poison(&mut secret);
    if secret[0] == 7 {
        println!("seven")
    } else {
        println!("another")
    }
    let mut found = core::hint::black_box(&table)[usize::from(secret[1])];
    declassify(&mut found);
    println!("{found}");
}

fn zeroed<T: Zeroable>() -> Box<T> {
    Box::new(T::zeroed())
}

/// Marks secrets, and tells what memcheck reported meanwhile.
struct Watch {
    poisoned: bool,
    errors: usize,
}

impl Watch {
    fn secret<T: ?Sized>(&self, value: &mut T) {
        if self.poisoned {
            poison(value);
        }
    }

    /// Declassifies what was made from secrets. That memcheck takes it for secret shows that it has
    /// followed them all the way.
    fn public<T: ?Sized>(&self, result: &mut T) {
        assert!(is_poisoned(result) || !self.poisoned || !is_watched());
        declassify(result);
    }

    /// An operation is done.
    fn done(&mut self, what: &str) {
        let errors = errors();
        if is_watched() && self.poisoned {
            println!("  {what}: {} reports", errors - self.errors);
        }
        self.errors = errors;
    }
}

/// What came out of the operations.
#[derive(PartialEq, Eq)]
struct Results {
    probe: Vec<u32>,
    encrypted: [Vec<u8>; 3],
    decrypted: Vec<u32>,
    folded: Vec<u8>,
    accepted: u32,
    refused: bool,
}

/// Every operation that touches a secret, from key to decision.
fn story<const L: usize>(k: &Kernels, poisoned: bool) -> Results {
    let mut watch = Watch { poisoned, errors: errors() };
    let mut scratch = zeroed::<Poly<L, Coeff>>();
    let mut public = zeroed::<PublicKey<L>>();
    let mut secret = zeroed::<SecretKey<L>>();
    let mut seed = [1; 32];
    watch.secret(&mut seed);
    generate(k, &seed, &mut secret, &mut public, &mut scratch);
    watch.public(&mut *secret);
    watch.public(&mut *public);
    watch.done("key generation");

    // Lane 0 is a match, the others are not.
    let people: [[i16; 128]; 2] = core::array::from_fn(|who| {
        core::array::from_fn(|i| [14, if i % 2 == 0 { 14 } else { -14 }][who])
    });
    let mut vectors = core::array::from_fn::<_, MAX_USERS, _>(|lane| people[usize::from(lane > 0)]);
    let mut plain = zeroed::<Plaintext>();
    watch.secret(&mut vectors);
    LAYOUT.encode_probes(k, vectors.iter().map(|v| &v[..]), &mut plain).unwrap();
    watch.public(&mut *plain);
    watch.done("probe encoding");
    let probe = plain.coeffs().to_vec();

    let mut ciphertext = zeroed::<Ciphertext<L>>();
    let mut seed = [2; 32];
    watch.secret(&mut seed);
    watch.secret(&mut *plain);
    let mut rng = ChaCha20Rng::from_seed(seed);
    encrypt(k, &public, &plain, &mut rng, &mut ciphertext, &mut scratch);
    watch.public(&mut *ciphertext);
    watch.done("encryption");
    let mut encrypted = vec![0; Ciphertext::<L>::SIZE];
    ciphertext.encode(k, &mut encrypted).unwrap();

    let mut zero = zeroed::<Zero<L>>();
    let mut seed = [4; 32];
    watch.secret(&mut seed);
    watch.secret(&mut *plain);
    zero.prepare(k, &public, &mut ChaCha20Rng::from_seed(seed), &mut scratch);
    let pooled = zero.encrypt(k, &plain, &mut scratch).unwrap();
    watch.public(pooled);
    watch.public(&mut *plain);
    watch.done("encryption, made ahead");
    let mut pooled_bytes = vec![0; Ciphertext::<L>::SIZE];
    pooled.encode(k, &mut pooled_bytes).unwrap();

    let mut seeded = zeroed::<SeededCiphertext<L>>();
    let mut seed = [5; 32];
    watch.secret(&mut seed);
    watch.secret(&mut *secret);
    let mut rng = ChaCha20Rng::from_seed(seed);
    secret.encrypt(k, &plain, &mut rng, &mut seeded, &mut scratch);
    watch.public(&mut *seeded);
    watch.public(&mut *secret);
    watch.done("encryption with the secret key");
    let mut seeded_bytes = vec![0; SeededCiphertext::<L>::SIZE];
    seeded.encode(k, &mut seeded_bytes).unwrap();

    watch.secret(&mut *secret);
    secret.decrypt(k, &ciphertext, &mut plain, &mut scratch);
    watch.public(&mut *plain);
    watch.public(&mut *secret);
    watch.done("decryption");
    let decrypted = plain.coeffs().to_vec();

    let mut templates = [people[0]; MAX_USERS];
    let mut multiplicand = zeroed::<Poly<L, Coeff>>();
    watch.secret(&mut templates);
    let vectors = templates.iter().map(|v| &v[..]);
    let multiplicand = LAYOUT.encode_templates(k, vectors, &mut plain, &mut multiplicand).unwrap();
    watch.done("template encoding");

    let mut blind = zeroed::<Blind<L>>();
    let mut seed = [3; 32];
    watch.secret(&mut seed);
    blind.prepare(k, &public, LAYOUT, &seed, &mut scratch);
    watch.done("blind");

    // The templates are still secret here, and so is the blind.
    let folded = fold(k, &ciphertext, multiplicand, &mut blind).unwrap();
    watch.public(folded);
    watch.done("fold");
    let mut bytes = vec![0; Folded::<L>::SIZE];
    folded.encode(k, &mut bytes).unwrap();

    let threshold = Threshold::from_cosine(LAYOUT, 0.5).unwrap();
    watch.secret(&mut *secret);
    let mut decisions = secret.decide(k, folded, LANES, threshold);
    watch.public(&mut decisions);
    watch.public(&mut *secret);
    watch.done("decision");
    Results {
        probe,
        encrypted: [encrypted, pooled_bytes, seeded_bytes],
        decrypted,
        folded: bytes,
        accepted: decisions.accepted,
        refused: decisions.refused,
    }
}

/// What came out of the general operations.
#[derive(PartialEq, Eq)]
struct General {
    keys: [Vec<u8>; 2],
    encrypted: Vec<u8>,
    slots: Vec<i32>,
}

/// Keys for products and rotations; slots squared and turned by one place. What needs no secret key is
/// watched with its ciphertext for a secret: it takes the same time for all.
fn general<const L: usize, const PARTS: usize>(k: &Kernels, poisoned: bool) -> General
where
    Rns<L>: Multiply,
{
    let mut watch = Watch { poisoned, errors: errors() };
    let mut scratch = zeroed::<Poly<L, Coeff>>();
    let mut public = zeroed::<PublicKey<L>>();
    let mut secret = zeroed::<SecretKey<L>>();
    let mut seed = [6; 32];
    generate(k, &seed, &mut secret, &mut public, &mut scratch);
    let (mut keys, mut relin) = (zeroed::<KeyGen<L>>(), zeroed::<RelinKey<L>>());
    let mut galois = zeroed::<GaloisKey<L>>();
    watch.secret(&mut seed);
    keys.derive(k, &seed);
    keys.relin(k, &mut relin);
    watch.public(&mut *relin);
    watch.done("relinearisation key");
    keys.galois(k, Rotation::Rows(1), &mut galois);
    watch.public(&mut *galois);
    watch.done("Galois key");
    let mut relin_bytes = vec![0; RelinKey::<L>::SIZE];
    relin.encode(k, &mut relin_bytes).unwrap();
    let mut galois_bytes = vec![0; GaloisKey::<L>::SIZE];
    galois.encode(k, &mut galois_bytes).unwrap();

    let mut slots = SLOTS;
    let mut plain = zeroed::<Plaintext<PARTS>>();
    let mut ciphertext = zeroed::<Ciphertext<L>>();
    let mut seed = [7; 32];
    watch.secret(&mut seed);
    watch.secret(&mut slots);
    plain.encode_rows(k, &slots).unwrap();
    let mut rng = ChaCha20Rng::from_seed(seed);
    encrypt(k, &public, &plain, &mut rng, &mut ciphertext, &mut scratch);
    watch.done("slots, encrypted");

    let (mut product, mut tensor) = (zeroed::<Product<L>>(), zeroed::<Tensor<L>>());
    let (mut squared, mut space) = (zeroed::<Ciphertext<L>>(), zeroed::<Hoisted<L>>());
    product.multiply(k, &ciphertext, &ciphertext, &mut tensor);
    product.relinearise(k, &relin, &mut squared, &mut space, &mut scratch);
    watch.done("product");
    squared.rotate(k, &galois, &mut space, &mut scratch);
    watch.public(&mut *squared);
    watch.done("rotation");
    let mut encrypted = vec![0; Ciphertext::<L>::SIZE];
    squared.encode(k, &mut encrypted).unwrap();

    let mut slots = vec![0; plain.coeffs().len()];
    watch.secret(&mut *secret);
    secret.decrypt(k, &squared, &mut plain, &mut scratch);
    plain.decode_rows(k, &mut slots).unwrap();
    watch.public(slots.as_mut_slice());
    watch.done("slots, decrypted");
    General { keys: [relin_bytes, galois_bytes], encrypted, slots }
}
