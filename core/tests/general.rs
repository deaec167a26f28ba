//! General BFV against its definitions, in big integers: the longer chains of primes, both degrees,
//! key switching, rotations, products and modulus switching, down to the words of ciphertexts and keys
//! as their encodings show them; and what it all is for: slots turned, polynomials of some depth, scores.

mod common;
#[path = "common/model.rs"]
mod model;

use chacha20::ChaCha20Rng;
use common::*;
use model::*;
use num_bigint::BigInt;
use symbolon_core::Error;
use symbolon_core::bfv::{
    Ciphertext, GaloisKey, Hoisted, KeyGen, Multiply, Plaintext, Product, Q54, Q81, Q108, Q135,
    RelinKey, Rotation, Switch, Tensor, noise,
};
use symbolon_core::matching::{Blind, Layout, fold};
use symbolon_core::poly::{Coeff, Poly};
use symbolon_core::rns::Rns;
use symbolon_core::wire::Wire;

/// A set's limbs with the special prime.
const Q54P: usize = 3;
const Q81P: usize = 4;
const Q135P: usize = 12;

/// Everybody's keys and the memory that operations need; P is the ring's parts.
struct Bench<const L: usize, const P: usize>
where
    Rns<L>: Switch,
{
    keys: Keys<L, P>,
    seed: [u8; 32],
    keygen: Box<KeyGen<L>>,
    space: Box<Hoisted<L>>,
    rng: ChaCha20Rng,
}

impl<const L: usize, const P: usize> Bench<L, P>
where
    Rns<L>: Switch,
{
    fn new(seed: u8) -> Self {
        let mut keygen = zeroed::<KeyGen<L>>();
        keygen.derive(kernels(), &[seed; 32]);
        let (keys, rng) = (Keys::new(seed), rng(seed ^ 0x80));
        Self { keys, seed: [seed; 32], keygen, space: zeroed(), rng }
    }

    fn galois(&mut self, rotation: Rotation) -> Box<GaloisKey<L>> {
        let mut key = zeroed::<GaloisKey<L>>();
        self.keygen.galois(kernels(), rotation, &mut key);
        assert_eq!(key.element(), rotation.element::<L>());
        key
    }

    fn relin(&mut self) -> Box<RelinKey<L>> {
        let mut key = zeroed::<RelinKey<L>>();
        self.keygen.relin(kernels(), &mut key);
        key
    }

    fn rotate(&mut self, x: &mut Ciphertext<L>, key: &GaloisKey<L>) {
        x.rotate(kernels(), key, &mut self.space, &mut self.keys.scratch);
    }

    /// Slots in rows, encrypted.
    fn encrypt(&mut self, rows: &[i64]) -> Box<Ciphertext<L>> {
        self.keys.encrypt(&in_rows(rows), &mut self.rng)
    }

    fn decrypt(&mut self, x: &Ciphertext<L>) -> Vec<i64> {
        let mut out = zeroed::<Plaintext<P>>();
        self.keys.secret.decrypt(kernels(), x, &mut out, &mut self.keys.scratch);
        rows(&mut out)
    }

    /// The largest noise around these slots.
    fn noise(&mut self, x: &Ciphertext<L>, rows: &[i64]) -> u128 {
        let message = in_rows::<P>(rows);
        noise::measure(kernels(), &self.keys.secret, x, &message, &mut self.keys.scratch)
    }

    fn random_slots(&mut self) -> Vec<i64> {
        random_slots::<P>(&mut self.rng)
    }
}

/// A plaintext of slots in rows.
fn in_rows<const P: usize>(values: &[i64]) -> Box<Plaintext<P>> {
    let mut out = zeroed::<Plaintext<P>>();
    let values: Vec<i32> = values.iter().map(|&x| centre(x)).collect();
    out.encode_rows(kernels(), &values).unwrap();
    out
}

/// The slots of a plaintext, which is used up, mod t.
fn rows<const P: usize>(plain: &mut Plaintext<P>) -> Vec<i64> {
    let mut out = vec![0; P * N];
    plain.decode_rows(kernels(), &mut out).unwrap();
    out.into_iter().map(|x| i64::from(x).rem_euclid(T)).collect()
}

fn random_slots<const P: usize>(rng: &mut ChaCha20Rng) -> Vec<i64> {
    (0..P).flat_map(|_| random_words(rng)).collect()
}

fn encoded<W: Wire>(x: &W) -> Vec<u8> {
    let mut bytes = vec![0; W::SIZE];
    x.encode(kernels(), &mut bytes).unwrap();
    bytes
}

/// The value with this body.
fn decoded<W: Wire + bytemuck::Zeroable>(body: &[u8]) -> Box<W> {
    let mut out = zeroed::<W>();
    let header = encoded(&*out)[..W::SIZE - body.len()].to_vec();
    out.decode(kernels(), &[&header, body].concat()).unwrap();
    out
}

fn halves<const L: usize>(x: &Ciphertext<L>) -> [Ring<L>; 2] {
    let words = unpack(&encoded(x)[8..]);
    [Ring::from_words(&words[..L]), Ring::from_words(&words[L..])]
}

fn ciphertext<const L: usize>([c0, c1]: &[Ring<L>; 2]) -> Box<Ciphertext<L>> {
    decoded(&[pack(&c0.words()), pack(&c1.words())].concat())
}

/// Polynomials that reach the ends of all coefficients, or of all digits; and random ones.
fn edges<const L: usize>(seed: u8) -> Vec<(&'static str, Ring<L>)> {
    let q = modulus::<L>();
    let all = |c: BigInt| Ring::new(vec![c; degree::<L>()]);
    let digits = |f: fn(u64, usize) -> u64| {
        let limbs: Vec<Vec<u64>> =
            primes::<L>().iter().map(|&q| (0..degree::<L>()).map(|i| f(q, i)).collect()).collect();
        Ring::from_residues(limbs.iter().map(Vec::as_slice))
    };
    vec![
        ("zero", Ring::zero()),
        ("one", all(big(1))),
        ("minus one", all(big(-1))),
        ("Q/2", all(&q / 2)),
        ("Q/2 + 1", all(&q / 2 + 1)),
        ("digits high", digits(|q, _| q / 2)),
        ("digits low", digits(|q, _| q / 2 + 1)),
        ("digits alternate", digits(|q, i| q / 2 + i as u64 % 2)),
        ("random", random_ring(seed)),
    ]
}

fn random_ring<const L: usize>(seed: u8) -> Ring<L> {
    uniform(&mut Stream::under([seed; 32]))
}

fn chain_is_as_listed<const L: usize>() {
    let n = degree::<L>() as u64;
    let listed = primes::<L>();
    let found = Rns::<L>::PRIMES;
    for (l, prime) in found.iter().enumerate() {
        let q = u64::from(prime.q());
        assert_eq!(q, listed[l % listed.len()], "{L} limbs, limb {l}");
        assert_eq!(q % (2 * n), 1);
        assert!((2..).take_while(|d| d * d <= q).all(|d| q % d != 0), "{q} is prime");
    }
}

#[test]
fn chains_are_as_listed() {
    chain_is_as_listed::<Q54>();
    chain_is_as_listed::<Q81>();
    chain_is_as_listed::<Q81P>();
    chain_is_as_listed::<7>();
    chain_is_as_listed::<Q108>();
    chain_is_as_listed::<Q135>();
    chain_is_as_listed::<Q135P>();
    chain_is_as_listed::<22>();
    // All primes of a basis differ, and an attacker sees no more than 106 bits at degree 4096, where
    // the estimator gives 128 bits of security, and 218 (the same table's 128 bits) at 8192.
    assert!(modulus::<Q81P>().bits() <= 106 && modulus::<Q135P>().bits() <= 218);
    for chain in [primes::<7>(), primes::<22>()] {
        let mut sorted = chain.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), chain.len());
    }
}

fn transform_evaluates<const L: usize>() {
    let mut poly = zeroed::<Poly<L, Coeff>>();
    for (name, ring) in edges::<L>(1) {
        let count = primes::<L>().len();
        let mut limbs = vec![[0; N]; L];
        for (j, residues) in ring.residues().iter().enumerate() {
            for (h, part) in residues.chunks(N).enumerate() {
                limbs[h * count + j] = std::array::from_fn(|i| part[i] as u32);
            }
        }
        let limbs: Box<[[u32; N]; L]> = limbs.try_into().unwrap();
        poly.set_limbs(&limbs).unwrap();
        let values = poly.forward(kernels());
        assert!(values.limbs().iter().zip(ring.words()).all(|(a, b)| a[..] == b), "{name}");
        assert!(values.inverse(kernels()).limbs() == &*limbs, "{name}, and back");
    }
}

#[test]
fn transforms_evaluate_at_the_listed_roots() {
    transform_evaluates::<Q54P>();
    transform_evaluates::<Q81P>();
    transform_evaluates::<Q108>();
    transform_evaluates::<Q135P>();
    // The model's own transform is Horner's rule.
    let q = primes::<Q135P>()[5];
    let coeffs: Vec<u64> = random_ring::<Q135P>(2).residues().remove(5);
    let values = evaluate(&coeffs, q);
    for k in [0, 1, 2, 4095, 4096, 8191] {
        let x = power(root(8192, q), 2 * k as u64 + 1, q);
        assert_eq!(coeffs.iter().rev().fold(0, |acc, c| (acc * x + c) % q), values[k]);
    }
    assert_eq!(interpolate_odd(&values, q), coeffs);
}

fn slots_are_values<const P: usize>() {
    let k = kernels();
    let n = P * N;
    let mut rng = rng(1);
    let values: Vec<i64> = random_slots::<P>(&mut rng);
    let signed: Vec<i32> = values.iter().map(|&x| centre(x)).collect();
    let mut plain = zeroed::<Plaintext<P>>();
    let evaluated = |plain: &Plaintext<P>| {
        let coeffs: Vec<u64> = plain.coeffs().iter().map(|&c| c.into()).collect();
        evaluate(&coeffs, T as u64)
    };
    plain.encode_slots(k, &signed).unwrap();
    let at = evaluated(&plain);
    assert!((0..n).all(|i| at[slot_exponent(n, i)] == values[i] as u64));
    let mut out = vec![0; n];
    plain.decode_slots(k, &mut out).unwrap();
    assert_eq!(out, signed);
    assert!(plain.coeffs().iter().all(|&c| c == 0), "working space holds zeros");

    // Row 0, column j: the root's 3^j-th power; row 1: its inverse.
    plain.encode_rows(k, &signed).unwrap();
    let at = evaluated(&plain);
    for (j, (first, second)) in values[..n / 2].iter().zip(&values[n / 2..]).enumerate() {
        let e = power(3, j as u64, 2 * n as u64) as usize;
        assert_eq!(at[e / 2], *first as u64, "row 0, column {j}");
        assert_eq!(at[(2 * n - e) / 2], *second as u64, "row 1, column {j}");
    }
    plain.decode_rows(k, &mut out).unwrap();
    assert_eq!(out, signed);
    assert!(plain.coeffs().iter().all(|&c| c == 0), "working space holds zeros");

    // What is missing is zero; what is too much, too large or of another length is refused.
    plain.encode_rows(k, &[7]).unwrap();
    plain.decode_rows(k, &mut out).unwrap();
    assert!(out[0] == 7 && out[1..].iter().all(|&x| x == 0));
    plain.encode_rows(k, &signed).unwrap();
    let before = plain.coeffs().to_vec();
    let errors = [(vec![0; n + 1], Error::Length), (vec![32_769], Error::Range)];
    for (refused, error) in errors {
        assert_eq!(plain.encode_rows(k, &refused), Err(error));
        assert_eq!(plain.encode_slots(k, &refused), Err(error));
        assert_eq!(plain.encode_coeffs(&refused), Err(error));
    }
    for len in [n - 1, n + 1] {
        let mut out = vec![0; len];
        assert_eq!(plain.decode_rows(k, &mut out), Err(Error::Length));
        assert_eq!(plain.decode_slots(k, &mut out), Err(Error::Length));
        assert_eq!(plain.decode_coeffs(&mut out), Err(Error::Length));
    }
    assert_eq!(plain.coeffs(), before, "unchanged after an error");
}

#[test]
fn slots_and_rows_are_values_at_the_listed_roots() {
    slots_are_values::<1>();
    slots_are_values::<2>();
}

/// X -> X^g of a rotation, from its definition.
fn element(rotation: Rotation, n: usize) -> usize {
    match rotation {
        Rotation::Rows(steps) => {
            power(3, steps.rem_euclid(n as i32 / 2) as u64, 2 * n as u64) as usize
        }
        Rotation::Swap => 2 * n - 1,
    }
}

/// Slots turned: row by row to the left, or the rows exchanged.
fn turned(rotation: Rotation, values: &[i64]) -> Vec<i64> {
    let (mut first, mut second) = (values.to_vec(), values.to_vec());
    first.truncate(values.len() / 2);
    second.drain(..values.len() / 2);
    match rotation {
        Rotation::Rows(steps) => {
            let steps = steps.rem_euclid(first.len() as i32) as usize;
            first.rotate_left(steps);
            second.rotate_left(steps);
            [first, second].concat()
        }
        Rotation::Swap => [second, first].concat(),
    }
}

/// A key's body: D E limbs, and the seed.
fn key_body<const E: usize>(bytes: &[u8]) -> &[u8] {
    let digits = primes::<E>().len() - 1;
    &bytes[bytes.len() - digits * E * N * 27 / 8 - 32..]
}

fn body_of<const E: usize>(key: &SwitchKey<E>) -> Vec<u8> {
    [pack(&key.words()), key.seed.to_vec()].concat()
}

fn keys_are_derived<const L: usize, const P: usize, const E: usize>(rotations: &[Rotation])
where
    Rns<L>: Switch,
{
    let mut bench = Bench::<L, P>::new(20);
    let model = SwitchKey::<E>::derive(&bench.seed, None);
    let relin = encoded(&*bench.relin());
    assert!(key_body::<E>(&relin) == body_of(&model), "relinearisation");
    for &rotation in rotations {
        let g = element(rotation, degree::<L>());
        assert_eq!(rotation.element::<L>() as usize, g);
        assert_eq!(rotation.inverse().element::<L>() as usize * g % (2 * degree::<L>()), 1);
        let model = SwitchKey::<E>::derive(&bench.seed, Some(g));
        let key = encoded(&*bench.galois(rotation));
        assert!(key_body::<E>(&key) == body_of(&model), "{rotation:?}");
    }
    // Keys depend on nothing that was derived before.
    bench.keygen.derive(kernels(), &[0; 32]);
    assert!(encoded(&*bench.relin()) != relin);
    bench.keygen.derive(kernels(), &bench.seed);
    assert!(encoded(&*bench.relin()) == relin);
}

#[test]
fn keys_are_derived_as_described() {
    use Rotation::{Rows, Swap};
    keys_are_derived::<Q54, 1, Q54P>(&[Rows(1), Rows(-5), Swap]);
    keys_are_derived::<Q81, 1, Q81P>(&[Rows(1), Rows(1024), Swap]);
    keys_are_derived::<Q135, 2, Q135P>(&[Rows(-1), Swap]);
}

/// Rotations that are tested: short ones, half way round, one before the end, and powers of two.
fn rotations(n: usize) -> Vec<Rotation> {
    let n = n as i32;
    let mut steps = vec![0, -1, 3, 5, n / 2 - 1, n / 2 + 1, -n / 4, i32::MIN, i32::MAX];
    steps.extend((0..n.ilog2() - 1).map(|i| 1 << i));
    steps.into_iter().map(Rotation::Rows).chain([Rotation::Swap]).collect()
}

fn rotations_turn_slots<const L: usize, const P: usize>()
where
    Rns<L>: Switch,
{
    let k = kernels();
    let mut bench = Bench::<L, P>::new(21);
    let slots = bench.random_slots();
    let fresh = bench.encrypt(&slots);
    let mut hoisted = zeroed::<Hoisted<L>>();
    hoisted.prepare(k, &fresh, &mut bench.keys.scratch);
    for rotation in rotations(degree::<L>()) {
        let key = bench.galois(rotation);
        let mut x = zeroed::<Ciphertext<L>>();
        x.copy_from(&fresh);
        bench.rotate(&mut x, &key);
        assert!(bench.decrypt(&x) == turned(rotation, &slots), "{rotation:?}");
        // Hoisted or not, the same words; whatever memory held before.
        let mut out = zeroed::<Ciphertext<L>>();
        out.copy_from(&x);
        hoisted.rotate(k, &key, &mut out, &mut bench.keys.scratch);
        assert!(encoded(&*out) == encoded(&*x), "{rotation:?}, hoisted");
        // And back again.
        let key = bench.galois(rotation.inverse());
        bench.rotate(&mut x, &key);
        assert!(bench.decrypt(&x) == slots, "{rotation:?}, undone");
    }
}

#[test]
fn rotations_turn_slots_q54() {
    rotations_turn_slots::<Q54, 1>();
}

#[test]
fn rotations_turn_slots_q81() {
    rotations_turn_slots::<Q81, 1>();
}

#[test]
fn rotations_turn_slots_q135() {
    rotations_turn_slots::<Q135, 2>();
}

fn rotations_are_exact<const L: usize, const P: usize, const E: usize>(rotations: &[Rotation])
where
    Rns<L>: Switch,
{
    let mut bench = Bench::<L, P>::new(22);
    for (i, &rotation) in rotations.iter().enumerate() {
        let g = element(rotation, degree::<L>());
        let model = SwitchKey::<E>::derive(&bench.seed, Some(g));
        // Read back: what is expanded from the seed counts, too.
        let key = decoded::<GaloisKey<L>>(&encoded(&*bench.galois(rotation))[8..]);
        assert_eq!(key.element() as usize, g);
        // The ends with the first key, random words with all.
        let all = edges::<L>(30 + i as u8);
        for (name, c1) in all.into_iter().skip(if i == 0 { 0 } else { 8 }) {
            let input = [random_ring(40), c1];
            let mut x = ciphertext(&input);
            bench.rotate(&mut x, &key);
            assert!(halves(&x) == rotated(&input, &model, g), "{rotation:?}, {name}");
        }
    }
}

#[test]
fn rotations_are_exact_q54() {
    use Rotation::{Rows, Swap};
    rotations_are_exact::<Q54, 1, Q54P>(&[
        Rows(1),
        Rows(-1),
        Rows(5),
        Rows(1024),
        Rows(2047),
        Swap,
    ]);
}

#[test]
fn rotations_are_exact_q81() {
    use Rotation::{Rows, Swap};
    rotations_are_exact::<Q81, 1, Q81P>(&[
        Rows(1),
        Rows(-1),
        Rows(5),
        Rows(1024),
        Rows(2047),
        Swap,
    ]);
}

#[test]
fn rotations_are_exact_q135() {
    use Rotation::{Rows, Swap};
    rotations_are_exact::<Q135, 2, Q135P>(&[Rows(-1), Rows(2048), Swap]);
}

/// self + self rotated, key by key.
fn rotate_sum_is_rotate_and_add<const L: usize, const P: usize>()
where
    Rns<L>: Switch,
{
    let k = kernels();
    let mut bench = Bench::<L, P>::new(23);
    let n = degree::<L>();
    let slots = bench.random_slots();
    let fresh = bench.encrypt(&slots);
    let (mut sum, mut want) = (zeroed::<Ciphertext<L>>(), zeroed::<Ciphertext<L>>());
    sum.copy_from(&fresh);
    want.copy_from(&fresh);
    let steps = (0..n.ilog2() - 1).map(|i| Rotation::Rows(1 << i)).chain([Rotation::Swap]);
    let keys: Vec<Box<GaloisKey<L>>> = steps.map(|rotation| bench.galois(rotation)).collect();
    let (space, scratch) = (&mut bench.space, &mut bench.keys.scratch);
    sum.rotate_sum(k, keys.iter().map(|key| &**key), space, scratch);
    for key in &keys {
        let mut turned = zeroed::<Ciphertext<L>>();
        turned.copy_from(&want);
        bench.rotate(&mut turned, key);
        want.add_assign(k, &turned);
    }
    assert!(encoded(&*sum) == encoded(&*want));
    // Every slot holds the sum of all.
    let total = slots.iter().sum::<i64>() % T;
    assert!(bench.decrypt(&sum).iter().all(|&x| x == total));
    // No keys, no change.
    let (space, scratch) = (&mut bench.space, &mut bench.keys.scratch);
    sum.rotate_sum(k, [], space, scratch);
    assert!(encoded(&*sum) == encoded(&*want));
}

#[test]
fn rotate_sums_add_all_slots() {
    rotate_sum_is_rotate_and_add::<Q81, 1>();
    rotate_sum_is_rotate_and_add::<Q135, 2>();
}

fn modulus_switching_is_exact<const L: usize, const M: usize, const P: usize>() {
    let k = kernels();
    let mut memory = zeroed::<Poly<L, Coeff>>();
    let mut out = zeroed::<Ciphertext<M>>();
    for (name, c0) in edges::<L>(50) {
        let input = [c0, random_ring(51)];
        ciphertext(&input).switch_modulus(k, &mut out, &mut memory);
        let want = input.each_ref().map(Ring::drop_last);
        assert!(halves(&out) == want, "{name}");
    }
    // The key of the same seed decrypts.
    let mut large = Keys::<L, P>::new(24);
    let mut small = Keys::<M, P>::new(24);
    let message = plaintext_of(&random_slots::<P>(&mut rng(52)));
    let x = large.encrypt(&message, &mut rng(53));
    x.switch_modulus(k, &mut out, &mut memory);
    assert!(small.decrypt(&out) == words(&message));
}

#[test]
fn moduli_are_switched_exactly() {
    modulus_switching_is_exact::<Q81, Q54, 1>();
    modulus_switching_is_exact::<Q135, Q108, 2>();
}

/// Less than Q / 2^this away from Q/2 it is open which of two integers the residues of an operand's
/// coefficient are taken for: their shares of Q are off by 2^-30 a prime. Either is right, and adds
/// t times the other operand's noise to the product's.
const LIFT_BITS: u32 = 27;

/// The components of a product, as relinearisations with made-up keys let them out: nothing is added
/// to (c0, c1) by a key of zeros, and c2 to c0 by one whose b are 1 mod q_i.
fn components<const L: usize, const E: usize>(
    product: &Product<L>,
    space: &mut Hoisted<L>,
    scratch: &mut Poly<L, Coeff>,
) -> [Ring<L>; 3]
where
    Rns<L>: Multiply,
{
    let k = kernels();
    let mut out = zeroed::<Ciphertext<L>>();
    product.relinearise(k, &zeroed::<RelinKey<L>>(), &mut out, space, scratch);
    let [c0, c1] = halves(&out);
    let count = primes::<E>().len();
    let rows = (0..count - 1).flat_map(|i| {
        (0..E).map(move |l| {
            let q = primes::<E>()[i];
            vec![if l % count == i { ((1 << 32) % q) as u32 } else { 0 }; N]
        })
    });
    let body = [pack(&rows.collect::<Vec<_>>()), vec![0; 32]].concat();
    product.relinearise(k, &decoded::<RelinKey<L>>(&body), &mut out, space, scratch);
    let [sum, _] = halves(&out);
    let c2 = sum.sub(&c0);
    [c0, c1, c2]
}

/// The largest |got - t exact / Q| mod Q, in 64ths.
fn rounding_error<const L: usize>(got: &Ring<L>, exact: &[BigInt]) -> f64 {
    let q = modulus::<L>();
    let off = |(got, exact): (&BigInt, &BigInt)| {
        let distance = centred(&(got * &q - exact * T), &(&q * &q));
        i128::try_from((distance * 64_000) / &q).unwrap_or(i128::MAX).unsigned_abs() as f64 / 1e3
    };
    got.0.iter().zip(exact).map(off).fold(0.0, f64::max)
}

/// Rounded to the nearest integer or, close to a tie, to its neighbour: t/Q times the exact product
/// comes as an integer and, for each prime of Q, 32 bits of a fraction times a word, each off by 2^-6
/// at most. So what is rounded is within 1/2 and these of the exact quotient.
fn products_are_exact<const L: usize, const P: usize, const E: usize>(everything: bool)
where
    Rns<L>: Multiply,
{
    let k = kernels();
    let mut bench = Bench::<L, P>::new(25);
    let (mut product, mut space) = (zeroed::<Product<L>>(), zeroed::<Tensor<L>>());
    let q = modulus::<L>();
    let limit = 32.0 + primes::<L>().len() as f64;
    let mut check = |name: &str, x: &[Ring<L>; 2], y: &[Ring<L>; 2], lifts: [bool; 2]| {
        let (left, right) = (ciphertext(x), ciphertext(y));
        product.multiply(k, &left, &right, &mut space);
        let got = components::<L, E>(&product, &mut bench.space, &mut bench.keys.scratch);
        // The coefficients (Q - 1) / 2 and (Q + 1) / 2, as they are or on the other side.
        let lift = |ring: &Ring<L>| -> Vec<BigInt> {
            let near = &q / 2;
            let lifted = |c: BigInt| match (lifts[0] && c == near, lifts[1] && c == -&near) {
                (true, _) => c - &q,
                (_, true) => c + &q,
                _ => c,
            };
            ring.centred().into_iter().map(lifted).collect()
        };
        let exact = tensor(&x.each_ref().map(lift), &y.each_ref().map(lift));
        let worst = got.iter().zip(&exact).map(|(g, e)| rounding_error(g, e)).fold(0.0, f64::max);
        println!("{L} limbs, {name}: off by {worst}/64");
        worst <= limit
    };
    let random = |seed| [random_ring(seed), random_ring(seed + 1)];
    let plain = [false; 2];
    assert!(check("random", &random(60), &random(62), plain));
    assert!(check("square", &random(64), &random(64), plain));
    let all = |c: BigInt| Ring::new(vec![c; degree::<L>()]);
    let ends = |a: &BigInt, b: &BigInt| [all(a.clone()), all(b.clone())];
    // As large as lifts are certain; the tensor's ends, too, where all signs agree.
    let (one, near) = (big(1), &q / 2 - (&q >> LIFT_BITS));
    assert!(check("high", &ends(&near, &near), &ends(&near, &near), plain));
    assert!(check("high and low", &ends(&near, &-&near), &ends(&-&near, &near), plain));
    if everything {
        assert!(check("zero", &ends(&BigInt::ZERO, &one), &random(66), plain));
        assert!(check("Q - 1", &ends(&-&one, &-&one), &ends(&-&one, &-&one), plain));
        assert!(check("Q - 1 and random", &ends(&-&one, &one), &random(68), plain));
    }
    // The ends themselves: on either side, but everywhere the same.
    let (low, high) = (&q / 2, &q / 2 + 1);
    let sides = [[false, false], [false, true], [true, false], [true, true]];
    let cases = [
        ("Q/2 and Q/2 + 1", ends(&low, &high), ends(&high, &low)),
        ("Q/2", ends(&low, &low), random(70)),
        ("Q/2 + 1", ends(&high, &high), random(70)),
    ];
    for (name, x, y) in cases.into_iter().take(if everything { 3 } else { 1 }) {
        assert!(sides.iter().any(|&side| check(name, &x, &y, side)), "{name}");
    }
}

#[test]
fn products_are_exact_q81() {
    products_are_exact::<Q81, 1, Q81P>(true);
}

#[test]
fn products_are_exact_q135() {
    products_are_exact::<Q135, 2, Q135P>(false);
}

fn relinearisation_is_exact<const L: usize, const P: usize, const E: usize>()
where
    Rns<L>: Multiply,
{
    let k = kernels();
    let mut bench = Bench::<L, P>::new(26);
    let model = SwitchKey::<E>::derive(&bench.seed, None);
    let relin = decoded::<RelinKey<L>>(&encoded(&*bench.relin())[8..]);
    let [mut first, mut second] = [0; 2].map(|_| zeroed::<Product<L>>());
    let mut space = zeroed::<Tensor<L>>();
    let random = |seed| ciphertext(&[random_ring(seed), random_ring(seed + 1)]);
    first.multiply(k, &random(80), &random(82), &mut space);
    second.multiply(k, &random(84), &random(80), &mut space);
    let (hoisted, scratch) = (&mut bench.space, &mut bench.keys.scratch);
    let a = components::<L, E>(&first, hoisted, scratch);
    let b = components::<L, E>(&second, hoisted, scratch);
    first.add_assign(k, &second);
    let [c0, c1, c2] = components::<L, E>(&first, hoisted, scratch);
    assert!(c0 == a[0].add(&b[0]) && c1 == a[1].add(&b[1]) && c2 == a[2].add(&b[2]), "sum");
    let mut out = random(86);
    first.relinearise(k, &relin, &mut out, hoisted, scratch);
    let [b, a] = model.switch(&c2);
    assert!(halves(&out) == [c0.add(&b), c1.add(&a)]);
}

#[test]
fn relinearisation_is_exact_q81() {
    relinearisation_is_exact::<Q81, 1, Q81P>();
}

#[test]
fn relinearisation_is_exact_q135() {
    relinearisation_is_exact::<Q135, 2, Q135P>();
}

/// Ciphertexts with the slots that they should hold.
struct Value<const L: usize> {
    slots: Vec<i64>,
    ciphertext: Box<Ciphertext<L>>,
}

/// What computes with them, and looks after every step.
struct Calculator<const L: usize, const P: usize>
where
    Rns<L>: Multiply,
{
    bench: Bench<L, P>,
    relin: Box<RelinKey<L>>,
    product: Box<Product<L>>,
    tensor: Box<Tensor<L>>,
}

impl<const L: usize, const P: usize> Calculator<L, P>
where
    Rns<L>: Multiply,
{
    fn new(seed: u8) -> Self {
        let mut bench = Bench::new(seed);
        let relin = bench.relin();
        Self { bench, relin, product: zeroed(), tensor: zeroed() }
    }

    fn value(&mut self) -> Value<L> {
        let slots = self.bench.random_slots();
        let ciphertext = self.bench.encrypt(&slots);
        Value { slots, ciphertext }
    }

    #[track_caller]
    fn check(&mut self, value: &Value<L>, name: &str) {
        assert!(self.bench.decrypt(&value.ciphertext) == value.slots, "{name}");
        let noise = self.bench.noise(&value.ciphertext, &value.slots);
        println!("{L} limbs, {name}: noise 2^{:.2}", (noise as f64).log2());
    }

    /// The sum of products.
    fn products(&mut self, pairs: &[(&Value<L>, &Value<L>)]) -> Value<L> {
        let k = kernels();
        let (mut sum, mut slots) = (zeroed::<Product<L>>(), vec![0; P * N]);
        for (i, (a, b)) in pairs.iter().enumerate() {
            let product = if i == 0 { &mut sum } else { &mut self.product };
            product.multiply(k, &a.ciphertext, &b.ciphertext, &mut self.tensor);
            if i > 0 {
                sum.add_assign(k, &self.product);
            }
            for ((slot, a), b) in slots.iter_mut().zip(&a.slots).zip(&b.slots) {
                *slot = (*slot + a * b) % T;
            }
        }
        let mut ciphertext = zeroed::<Ciphertext<L>>();
        let (space, scratch) = (&mut self.bench.space, &mut self.bench.keys.scratch);
        sum.relinearise(k, &self.relin, &mut ciphertext, space, scratch);
        Value { slots, ciphertext }
    }

    fn product(&mut self, a: &Value<L>, b: &Value<L>) -> Value<L> {
        self.products(&[(a, b)])
    }

    fn sum(&self, a: &Value<L>, b: &Value<L>) -> Value<L> {
        let slots = a.slots.iter().zip(&b.slots).map(|(a, b)| (a + b) % T).collect();
        let mut ciphertext = zeroed::<Ciphertext<L>>();
        ciphertext.copy_from(&a.ciphertext);
        ciphertext.add_assign(kernels(), &b.ciphertext);
        Value { slots, ciphertext }
    }
}

#[test]
fn products_of_one_level() {
    let mut q81 = Calculator::<Q81, 1>::new(27);
    let (x, y, z) = (q81.value(), q81.value(), q81.value());
    let product = q81.product(&x, &y);
    q81.check(&product, "x y");
    let square = q81.product(&x, &x);
    q81.check(&square, "x^2");
    let sum = q81.products(&[(&x, &y), (&y, &z), (&z, &z), (&x, &x)]);
    q81.check(&sum, "x y + y z + z^2 + x^2");
    let both = q81.sum(&x, &z);
    let of_sums = q81.product(&both, &both);
    q81.check(&of_sums, "(x + z)^2");
    let ends = Value { slots: vec![T - 1; N], ciphertext: q81.bench.encrypt(&[T - 1; N]) };
    let of_ends = q81.product(&ends, &ends);
    q81.check(&of_ends, "(-1)^2");

    // Rotated afterwards, switched down, and still right.
    let key = q81.bench.galois(Rotation::Rows(7));
    let mut turned_product = of_sums;
    q81.bench.rotate(&mut turned_product.ciphertext, &key);
    turned_product.slots = turned(Rotation::Rows(7), &turned_product.slots);
    q81.check(&turned_product, "turned");
    let mut small = zeroed::<Ciphertext<Q54>>();
    turned_product.ciphertext.switch_modulus(kernels(), &mut small, &mut q81.bench.keys.scratch);
    assert!(Bench::<Q54, 1>::new(27).decrypt(&small) == turned_product.slots);
}

#[test]
fn products_of_three_levels() {
    let mut q135 = Calculator::<Q135, 2>::new(28);
    let (x, y, z) = (q135.value(), q135.value(), q135.value());
    let x2 = q135.product(&x, &x);
    q135.check(&x2, "x^2");
    let x4 = q135.product(&x2, &x2);
    q135.check(&x4, "x^4");
    let x8 = q135.product(&x4, &x4);
    q135.check(&x8, "x^8");
    // Levels mixed: x^4 y + (x y)(x^2 + z) and its product with z.
    let xy = q135.product(&x, &y);
    let x2z = q135.sum(&x2, &z);
    let mixed = q135.products(&[(&x4, &y), (&xy, &x2z)]);
    q135.check(&mixed, "x^4 y + x y (x^2 + z)");
    let mut turned_mixed = q135.product(&x2, &xy);
    for rotation in [Rotation::Rows(4_000), Rotation::Swap] {
        let key = q135.bench.galois(rotation);
        q135.bench.rotate(&mut turned_mixed.ciphertext, &key);
        turned_mixed.slots = turned(rotation, &turned_mixed.slots);
    }
    let last = q135.product(&turned_mixed, &z);
    q135.check(&last, "x^3 y, turned and exchanged, times z");
    let mut small = zeroed::<Ciphertext<Q108>>();
    last.ciphertext.switch_modulus(kernels(), &mut small, &mut q135.bench.keys.scratch);
    let mut keys = Keys::<Q108, 2>::new(28);
    let mut out = zeroed::<Plaintext<2>>();
    keys.secret.decrypt(kernels(), &small, &mut out, &mut keys.scratch);
    assert!(rows(&mut out) == last.slots);
}

/// The other way of matching: multiply, then rotate and add until every slot of a block holds the
/// block's sum. It has to give what the fold gives.
fn rotate_and_add_matches_as_the_fold_does<const L: usize>()
where
    Rns<L>: Switch,
{
    let k = kernels();
    let mut bench = Bench::<L, 1>::new(29);
    let (mut plain, mut memory) = (zeroed::<Plaintext>(), zeroed::<Poly<L, Coeff>>());
    let mut blind = zeroed::<Blind<L>>();
    let mut x = zeroed::<Ciphertext<L>>();
    for layout in LAYOUTS {
        let (d, users) = (layout.dims(), layout.users());
        // 3^(2048 / d) generates the elements that leave X^d at its value in each block.
        let steps = (0..d.ilog2()).map(|i| Rotation::Rows((2_048 / d as i32) << i));
        let keys: Vec<Box<GaloisKey<L>>> = steps.map(|rotation| bench.galois(rotation)).collect();
        for (name, probes, templates) in batches(layout, &mut bench.rng) {
            layout.encode_probes(k, slices(&probes), &mut plain).unwrap();
            let probe = bench.keys.encrypt(&plain, &mut bench.rng);
            let templates_poly =
                layout.encode_templates(k, slices(&templates), &mut plain, &mut memory).unwrap();
            x.copy_from(&probe);
            x.multiply_plain(k, templates_poly);
            let (space, scratch) = (&mut bench.space, &mut bench.keys.scratch);
            x.rotate_sum(k, keys.iter().map(|key| &**key), space, scratch);
            bench.keys.secret.decrypt(k, &x, &mut plain, &mut bench.keys.scratch);
            let noise = noise::measure(k, &bench.keys.secret, &x, &plain, &mut bench.keys.scratch);
            println!("{L} limbs, {layout:?}, {name}: noise 2^{:.2}", (noise as f64).log2());
            let mut slots = vec![0; N];
            plain.decode_slots(k, &mut slots).unwrap();

            blind.prepare(k, &bench.keys.public, layout, &[1; 32], &mut bench.keys.scratch);
            let folded = fold(k, &probe, templates_poly, &mut blind).unwrap();
            let (scores, refused) = noise::folded_scores(k, &bench.keys.secret, folded);
            assert!(!refused);
            for (user, block) in slots.chunks(d).enumerate() {
                let score = match (probes.get(user), templates.get(user)) {
                    (Some(p), Some(t)) => inner_product(p, t),
                    _ => 0,
                };
                assert_eq!(scores[user], score, "{layout:?}, {name}, user {user}, fold");
                let want = centre(d as i64 * i64::from(score));
                assert!(block.iter().all(|&x| x == want), "{layout:?}, {name}, user {user}");
            }
            assert_eq!(slots.len(), users * d);
        }
    }
}

/// A name, probes and templates.
type Batch = (&'static str, Vec<Vec<i16>>, Vec<Vec<i16>>);

fn batches(layout: Layout, rng: &mut ChaCha20Rng) -> Vec<Batch> {
    let users = layout.users();
    let mut random = |n: usize| -> Vec<_> { (0..n).map(|_| random_vector(layout, rng)).collect() };
    // The largest norm: 181^2 + 2^2 + 1 + 1 = 32767.
    let steep = |sign: i16| {
        let mut v = vec![0; layout.dims()];
        v[..3].copy_from_slice(&[181 * sign, 2 * sign, sign]);
        v[layout.dims() - 1] = sign;
        v
    };
    let holes = |v: Vec<Vec<i16>>, at: usize| -> Vec<Vec<i16>> {
        v.into_iter().enumerate().map(|(i, v)| if i % 3 == at { vec![] } else { v }).collect()
    };
    vec![
        ("random", random(users), random(users)),
        ("largest", vec![steep(1); users], vec![steep(1); users]),
        ("smallest", vec![steep(1); users], vec![steep(-1); users]),
        ("holes", holes(random(users), 0), holes(random(users), 1)),
        ("one user", random(1), random(users)),
        ("nobody", vec![], random(users)),
    ]
}

#[test]
fn rotate_and_add_matches_as_the_fold_does_q81() {
    rotate_and_add_matches_as_the_fold_does::<Q81>();
}
