//! The scheme a second time, from its definitions, in big integers: rings without residues or
//! transforms, samplers bit by bit, rounding by exact division. Every value that the library lets
//! out is compared, and what it does not let out (a ciphertext's two halves) shows in decryptions
//! under other keys: they give all coefficients of c0 + c1 s' for any s'.

mod common;
#[path = "common/model.rs"]
mod model;

use chacha20::ChaCha20Rng;
use common::*;
use model::*;

const Q108: usize = 8;
const Q135: usize = 10;
use num_bigint::BigInt;
use rand_core::Rng;
use std::iter;
use symbolon_core::bfv::{
    Ciphertext, Plaintext, PublicKey, Q54, Q81, SecretKey, SeededCiphertext, generate, noise,
};
use symbolon_core::matching::{Blind, fold};
use symbolon_core::poly::{Coeff, Eval, Poly};

/// The library's polynomial with these coefficients.
fn eval<const L: usize>(ring: &Ring<L>) -> Box<Poly<L, Eval>> {
    let mut out = zeroed::<Poly<L, Eval>>();
    out.set_limbs(&boxed(&ring.words())).unwrap();
    out
}

fn boxed<const L: usize>(words: &[Vec<u32>]) -> Box<[[u32; N]; L]> {
    let limbs: Vec<[u32; N]> = words.iter().map(|w| w[..].try_into().unwrap()).collect();
    limbs.try_into().unwrap()
}

/// The coefficients of a library polynomial in evaluation form.
fn coefficients<const L: usize>(poly: &Poly<L, Eval>) -> Ring<L> {
    Ring::from_words(&poly.limbs().iter().map(|limb| limb.to_vec()).collect::<Vec<_>>())
}

/// What the library holds as the secret key.
fn secret_of<const L: usize>(key: &SecretKey<L>) -> Ring<L> {
    let mut s = vec![0; degree::<L>()];
    noise::secret_coeffs(kernels(), key, &mut s);
    Ring::small(&s.into_iter().map(i64::from).collect::<Vec<_>>())
}

/// Compares a ciphertext with its model through decryptions under three keys: its own, another one,
/// and zero, which shows c0 alone. The two wrong ones give phases uniform mod Q.
#[track_caller]
fn assert_same<const L: usize, const P: usize>(
    ciphertext: &Ciphertext<L>,
    model: &[Ring<L>; 2],
    message: &[i64],
    right: &mut Keys<L, P>,
    wrong: &mut Keys<L, P>,
) {
    let mut zero = Keys { secret: zeroed::<SecretKey<L>>(), ..Keys::new(99) };
    for (keys, is_right) in [(right, true), (wrong, false), (&mut zero, false)] {
        let phase = model[0].add(&model[1].mul(&secret_of(&keys.secret)));

        let (want, safe) = rounded(&phase);
        let got = keys.decrypt(ciphertext);
        let mut skipped = 0;
        for i in 0..P * N {
            if safe[i] {
                assert_eq!(got[i], want[i], "coefficient {i}");
            } else {
                skipped += 1;
            }
        }
        assert!(skipped <= if is_right { 0 } else { 5 }, "{skipped} ties");
        if is_right {
            assert_eq!(got, message);
        }

        // The largest distance from a message, to the last bit.
        let largest = phase.sub(&scaled(message)).size();
        let measured = noise::measure(
            kernels(),
            &keys.secret,
            ciphertext,
            &plaintext_of::<P>(message),
            &mut keys.scratch,
        );
        assert_eq!(big(measured), largest.min(big(u128::MAX)));
    }
}

fn edge_messages<const P: usize>() -> Vec<Vec<i64>> {
    let n = P * N;
    let mut rng = rng(40);
    vec![
        vec![0; n],
        vec![T - 1; n],
        vec![1; n],
        vec![T / 2; n],
        vec![T / 2 + 1; n],
        (0..n as i64).map(|i| i % 2 * (T - 1)).collect(),
        (0..n as i64).map(|i| (i + 1) % 2 * (T - 1)).collect(),
        (0..n).map(|i| i64::from(i == n - 1)).collect(),
        random_message::<P>(&mut rng),
    ]
}

fn random_message<const P: usize>(rng: &mut ChaCha20Rng) -> Vec<i64> {
    (0..P).flat_map(|_| random_words(rng)).collect()
}

/// One seed, one s: in every set of a degree the same, so that ciphertexts may change sets.
fn secrets_are_derived<const L: usize>() {
    for seed in [0, 1, 255] {
        let keys = Keys::<L>::new(seed);
        let want = secret::<L>(&[seed; 32]);
        assert!(secret_of(&keys.secret) == want, "seed {seed}");
        let mut alone = zeroed::<SecretKey<L>>();
        alone.derive(kernels(), &[seed; 32]);
        assert!(secret_of(&alone) == want, "seed {seed}");
    }
}

#[test]
fn secrets_are_derived_as_described() {
    secrets_are_derived::<Q54>();
    secrets_are_derived::<Q81>();
    secrets_are_derived::<Q108>();
    secrets_are_derived::<Q135>();
}

fn public_key_encryption<const L: usize, const P: usize>() {
    let (mut right, mut wrong) = (Keys::<L, P>::new(1), Keys::<L, P>::new(2));
    let model = Model::<L>::new(1);
    let messages = edge_messages::<P>();
    for (i, message) in messages.into_iter().enumerate().filter(|(i, _)| [1, 8].contains(i)) {
        let seed = 10 + i as u8;
        let ciphertext = right.encrypt(&plaintext_of(&message), &mut rng(seed));
        let want = model.encrypt(&message, &mut rng(seed));
        assert_same(&ciphertext, &want, &message, &mut right, &mut wrong);
    }
}

#[test]
fn public_key_encryption_q54() {
    public_key_encryption::<Q54, 1>();
}

#[test]
fn public_key_encryption_q81() {
    public_key_encryption::<Q81, 1>();
}

#[test]
fn public_key_encryption_q108() {
    public_key_encryption::<Q108, 2>();
}

#[test]
fn public_key_encryption_q135() {
    public_key_encryption::<Q135, 2>();
}

fn seeded_encryption<const L: usize, const P: usize>() {
    let (mut right, mut wrong) = (Keys::<L, P>::new(3), Keys::<L, P>::new(4));
    let s = secret::<L>(&[3; 32]);
    let message = random_message::<P>(&mut rng(50));
    let (mut seeded, mut ciphertext) = (zeroed::<SeededCiphertext<L>>(), zeroed::<Ciphertext<L>>());
    right.secret.encrypt(
        kernels(),
        &plaintext_of::<P>(&message),
        &mut rng(51),
        &mut seeded,
        &mut right.scratch,
    );
    seeded.expand(kernels(), &mut ciphertext);

    let mut rng = rng(51);
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    let c1 = uniform(&mut Stream::new("symbolon/bfv-seeded/v1", &seed));
    let e = model::noise(&mut Stream::draw(&mut rng));
    let c0 = c1.mul(&s).neg().add(&e).add(&scaled(&message));
    assert_same(&ciphertext, &[c0, c1], &message, &mut right, &mut wrong);
}

#[test]
fn seeded_encryption_matches_the_model() {
    seeded_encryption::<Q54, 1>();
    seeded_encryption::<Q81, 1>();
    seeded_encryption::<Q108, 2>();
    seeded_encryption::<Q135, 2>();
}

fn every_message_is_scaled_exactly<const L: usize, const P: usize>() {
    let mut memory = zeroed::<Poly<L, Coeff>>();
    let messages: Vec<i64> = (0..T).collect();
    for chunk in messages.chunks(P * N) {
        let mut message = chunk.to_vec();
        message.resize(P * N, T - 1);
        let addend = plaintext_of::<P>(&message);
        let got = coefficients(addend.to_addend(kernels(), &mut memory));
        assert!(got == scaled::<L>(&message));
    }
}

#[test]
fn scaling_is_exact_for_every_message() {
    every_message_is_scaled_exactly::<Q54, 1>();
    every_message_is_scaled_exactly::<Q81, 1>();
    every_message_is_scaled_exactly::<Q108, 2>();
    every_message_is_scaled_exactly::<Q135, 2>();
}

/// Phases put together by hand: c0 from an addend, c1 zero.
fn decryption_is_exact_up_to_its_reach<const L: usize, const P: usize>() {
    let k = kernels();
    let mut keys = Keys::<L, P>::new(5);
    let mut decrypt = |phase: &Ring<L>| {
        let mut ciphertext = zeroed::<Ciphertext<L>>();
        ciphertext.add_plain(k, &eval(phase));
        keys.decrypt(&ciphertext)
    };
    let (q, t) = (modulus::<L>(), big(T));
    // Q/2t (1 - 2^-13), exclusive, and noise as far on the other side; 2^-12 for five primes.
    let one = 1 << reach::<L>();
    let within: BigInt = (&q * (one - 1) - 1) / (2 * &t * one);
    let beyond: BigInt = (&q * (one + 1)) / (2 * &t * one) + 2;
    let messages: Vec<i64> = (0..T).collect();
    for chunk in messages.chunks(P * N) {
        let mut message = chunk.to_vec();
        message.resize(P * N, 0);
        let base = scaled::<L>(&message);
        let with = |noise: BigInt| Ring::new(base.0.iter().map(|c| c + &noise));
        assert!(decrypt(&with(within.clone())) == message);
        assert!(decrypt(&with(-&within)) == message);
        // What goes over has to fall to the neighbour once the fixed point's own error is passed.
        let slack: BigInt = &q >> 34;
        let next: Vec<i64> = message.iter().map(|m| (m + 1) % T).collect();
        assert!(decrypt(&with(&beyond + &slack)) == next);
        let previous: Vec<i64> = message.iter().map(|m| (m + T - 1) % T).collect();
        assert!(decrypt(&with(-&beyond - &slack)) == previous);
    }
    // Anywhere mod Q.
    let phase = uniform(&mut Stream::under([60; 32]));
    let (want, safe) = rounded(&phase);
    let got = decrypt(&phase);
    assert!((0..P * N).all(|i| got[i] == want[i] || !safe[i]));
    assert!(safe.iter().filter(|&&s| !s).count() <= 5);
}

#[test]
fn decryption_rounds_exactly() {
    decryption_is_exact_up_to_its_reach::<Q54, 1>();
    decryption_is_exact_up_to_its_reach::<Q81, 1>();
    decryption_is_exact_up_to_its_reach::<Q108, 2>();
    decryption_is_exact_up_to_its_reach::<Q135, 2>();
}

fn edge_messages_come_back<const L: usize, const P: usize>() {
    let mut keys = Keys::<L, P>::new(6);
    let mut rng = rng(70);
    for message in edge_messages::<P>() {
        let plain = plaintext_of(&message);
        assert!(words(&plain) == message);
        let ciphertext = keys.encrypt(&plain, &mut rng);
        assert!(keys.decrypt(&ciphertext) == message);
        assert!(keys.scratch.limbs().iter().flatten().all(|&x| x == 0), "scratch holds zeros");

        let (mut seeded, mut expanded) = (zeroed::<SeededCiphertext<L>>(), zeroed());
        keys.secret.encrypt(kernels(), &plain, &mut rng, &mut seeded, &mut keys.scratch);
        seeded.expand(kernels(), &mut expanded);
        assert!(keys.decrypt(&expanded) == message);
    }
}

#[test]
fn edge_messages_survive() {
    edge_messages_come_back::<Q54, 1>();
    edge_messages_come_back::<Q81, 1>();
    edge_messages_come_back::<Q108, 2>();
    edge_messages_come_back::<Q135, 2>();
}

fn evaluation<const L: usize, const P: usize>() {
    let (k, n) = (kernels(), P * N);
    let mut keys = Keys::<L, P>::new(7);
    let mut rng = rng(80);
    let mut memory = zeroed::<Poly<L, Coeff>>();
    let mut pairs = vec![(vec![T - 1; n], vec![T - 1; n]), (vec![T / 2; n], vec![T / 2 + 1; n])];
    pairs
        .extend((0..4 - P).map(|_| (random_message::<P>(&mut rng), random_message::<P>(&mut rng))));
    for (a, b) in pairs {
        let (plain_a, plain_b) = (plaintext_of(&a), plaintext_of::<P>(&b));
        let encrypted_a = keys.encrypt(&plain_a, &mut rng);
        let encrypted_b = keys.encrypt(&plain_b, &mut rng);
        let combine = |f: &dyn Fn(i64, i64) -> i64| -> Vec<i64> {
            a.iter().zip(&b).map(|(&a, &b)| f(a, b).rem_euclid(T)).collect()
        };
        let mut test = |name, f: &mut dyn FnMut(&mut Ciphertext<L>), want: Vec<i64>| {
            let mut x = zeroed::<Ciphertext<L>>();
            x.copy_from(&encrypted_a);
            f(&mut x);
            assert!(keys.decrypt(&x) == want, "{name}");
        };
        test("add", &mut |x| x.add_assign(k, &encrypted_b), combine(&|a, b| a + b));
        test("sub", &mut |x| x.sub_assign(k, &encrypted_b), combine(&|a, b| a - b));
        test("negate", &mut |x| x.negate(k), combine(&|a, _| -a));
        let mut add = |x: &mut Ciphertext<L>| x.add_plain(k, plain_b.to_addend(k, &mut memory));
        test("add plain", &mut add, combine(&|a, b| a + b));
        let mut sub = |x: &mut Ciphertext<L>| x.sub_plain(k, plain_b.to_addend(k, &mut memory));
        test("sub plain", &mut sub, combine(&|a, b| a - b));
        let mut multiply = |x: &mut Ciphertext<L>| {
            x.multiply_plain(k, plain_b.to_multiplicand(k, &mut memory));
        };
        test("multiply plain", &mut multiply, product(&a, &b));
        // A little of everything: 3 (a - b) + a X^100, the factor and the shift as plaintexts.
        let mut shift = vec![0; n];
        shift[100] = 1;
        let mut mixed = |x: &mut Ciphertext<L>| {
            x.sub_assign(k, &encrypted_b);
            x.multiply_plain(k, plaintext_of::<P>(&[3]).to_multiplicand(k, &mut memory));
            let mut y = zeroed::<Ciphertext<L>>();
            y.copy_from(&encrypted_a);
            y.multiply_plain(k, plaintext_of::<P>(&shift).to_multiplicand(k, &mut memory));
            x.add_assign(k, &y);
        };
        let shifted = product(&a, &shift);
        let want = (0..n).map(|i| (3 * (a[i] - b[i]) + shifted[i]).rem_euclid(T)).collect();
        test("mixed", &mut mixed, want);
    }
}

#[test]
fn evaluation_matches_the_schoolbook() {
    evaluation::<Q54, 1>();
    evaluation::<Q81, 1>();
    evaluation::<Q108, 2>();
    evaluation::<Q135, 2>();
}

fn slots<const L: usize>() {
    let k = kernels();
    let mut keys = Keys::<L>::new(8);
    let mut rng = rng(90);
    let mut memory = zeroed::<Poly<L, Coeff>>();
    let values = [0; 2].map(|_| -> Vec<i32> {
        let mut values: Vec<i32> = random_words(&mut rng).into_iter().map(centre).collect();
        values[..4].copy_from_slice(&[32_768, -32_768, 0, 32_768]);
        values
    });
    let [a, b] = [0, 1].map(|i| {
        let mut plain = zeroed::<Plaintext>();
        plain.encode_slots(k, &values[i]).unwrap();
        // Slot i is the value at the i-th root.
        let poly = words(&plain);
        assert!(values[i].iter().enumerate().all(|(j, &v)| slot(&poly, j) == v));
        plain
    });
    let mut ciphertext = keys.encrypt(&a, &mut rng);
    ciphertext.multiply_plain(k, b.to_multiplicand(k, &mut memory));
    let mut out = zeroed::<Plaintext>();
    keys.secret.decrypt(k, &ciphertext, &mut out, &mut keys.scratch);
    let mut slots = [0; N];
    out.decode_slots(k, &mut slots).unwrap();
    for i in 0..N {
        let want = i64::from(values[0][i]) * i64::from(values[1][i]);
        assert_eq!(slots[i], centre(want), "slot {i}");
    }
    assert!(words(&out).iter().all(|&x| x == 0), "working space holds zeros");
}

#[test]
fn slots_multiply_one_by_one() {
    slots::<Q54>();
    slots::<Q81>();
}

#[test]
fn encoding_limits() {
    let k = kernels();
    let mut plain = zeroed::<Plaintext>();
    let full = vec![-32_768; N];
    plain.encode_coeffs(&full).unwrap();
    let before = words(&plain);
    let mut decoded = [0; N];
    plain.decode_coeffs(&mut decoded).unwrap();
    assert_eq!(&decoded[..], &full[..]);
    for refused in [vec![0; N + 1], vec![32_769], vec![0, -32_769], vec![i32::MIN], vec![i32::MAX]]
    {
        let error = if refused.len() > N {
            symbolon_core::Error::Length
        } else {
            symbolon_core::Error::Range
        };
        assert_eq!(plain.encode_coeffs(&refused), Err(error));
        assert_eq!(plain.encode_slots(k, &refused), Err(error));
        assert_eq!(words(&plain), before, "unchanged after an error");
    }
    // Missing values are zero, in both encodings.
    plain.encode_coeffs(&[5]).unwrap();
    assert_eq!((plain.coeffs()[0], plain.coeffs()[1..].iter().max()), (5, Some(&0)));
    plain.encode_slots(k, &[5]).unwrap();
    let poly = words(&plain);
    assert!((0..N).all(|i| slot(&poly, i) == if i == 0 { 5 } else { 0 }));

    // Words are canonical, or refused where they stand, and then nothing changes.
    let mut poly = zeroed::<Poly<Q81, Coeff>>();
    let mut limbs = Box::new([[7; N]; Q81]);
    poly.set_limbs(&limbs).unwrap();
    for (i, &q) in primes::<Q81>().iter().enumerate() {
        limbs[i][i + 3] = q as u32;
        assert_eq!(poly.set_limbs(&limbs), Err((i, i + 3)));
        assert!(poly.limbs().iter().flatten().all(|&x| x == 7));
        limbs[i][i + 3] = q as u32 - 1;
        poly.set_limbs(&limbs).unwrap();
        limbs[i][i + 3] = 7;
        poly.set_limbs(&limbs).unwrap();
    }
}

/// The same seed, the same keys; another seed, others. Seen through what they encrypt and decrypt.
#[test]
fn keys_are_a_function_of_the_seed() {
    let message = random_words(&mut rng(100));
    let [mut first, mut second, mut third] = [9, 9, 10].map(Keys::<Q54>::new);
    let ciphertext = first.encrypt(&plaintext(&message), &mut rng(101));
    let mut again = second.encrypt(&plaintext(&message), &mut rng(101));
    assert_eq!(second.decrypt(&ciphertext), message);
    again.sub_assign(kernels(), &ciphertext);
    for keys in [&mut first, &mut second, &mut third] {
        let zero = plaintext(&[0; N]);
        let noise = noise::measure(kernels(), &keys.secret, &again, &zero, &mut keys.scratch);
        assert_eq!(noise, 0, "equal ciphertexts: their difference is zero under any key");
    }
    assert_ne!(third.decrypt(&ciphertext), message);
    // Memory that was used before does not matter.
    let (mut secret, mut public) = (zeroed::<SecretKey<Q54>>(), zeroed::<PublicKey<Q54>>());
    for seed in [10, 9] {
        generate(kernels(), &[seed; 32], &mut secret, &mut public, &mut first.scratch);
    }
    second.secret = secret;
    assert_eq!(second.decrypt(&ciphertext), message);
}

/// A whole batch, down to the last bit of what the custodian sees: encoding, encryption, product,
/// re-randomisation, flood and fold.
fn folding<const L: usize>() {
    let k = kernels();
    let mut keys = Keys::<L>::new(11);
    let wrong = Keys::<L>::new(12);
    let model = Model::<L>::new(11);
    let mut memory = zeroed::<Poly<L, Coeff>>();
    let mut plain = zeroed::<Plaintext>();
    for layout in LAYOUTS {
        let (d, users) = (layout.dims(), layout.users());
        let mut vectors = rng(110 + layout.id());
        let [probes, templates] = [0; 2].map(|_| -> Vec<Vec<i16>> {
            (0..users).map(|_| random_vector(layout, &mut vectors)).collect()
        });
        let seed = [layout.id(); 32];

        // The model.
        let [c0, c1] = model.encrypt(&probe_poly(layout, &probes), &mut rng(111));
        let template: Vec<i64> =
            template_poly(layout, &templates).into_iter().map(|x| i64::from(centre(x))).collect();
        let template = Ring::small(&template);
        let mut blind = Stream::new("symbolon/blind-stream/v1", &seed);
        let u = ternary(&mut blind);
        let e1 = model::noise(&mut blind);
        let e0 = binomial(&mut blind, 32);
        // Uniform in [-bound, bound], bound = floor(Q / 16 t), by rejection from 64-bit words.
        let bound = u64::try_from(modulus::<L>() / (16 * T)).unwrap();
        let mut small = vec![0; N];
        let mut keystream = iter::repeat_with(move || blind.chunk()).flatten();
        let mut word = || u64::from(keystream.next().unwrap());
        for (i, e0) in e0.iter().enumerate() {
            let flood = loop {
                let x = (word() + (word() << 32)) % (2 * bound + 1).next_power_of_two();
                if x <= 2 * bound {
                    break x as i64 - bound as i64;
                }
            };
            if i < users {
                small[d * i] = e0 + flood;
            }
        }
        let first = c0.mul(&template).add(&model.p0.mul(&u)).add(&Ring::small(&small));
        let second = c1.mul(&template).add(&model.p1.mul(&u)).add(&e1);

        // The library.
        layout.encode_probes(k, slices(&probes), &mut plain).unwrap();
        assert_eq!(words(&plain), probe_poly(layout, &probes));
        let ciphertext = keys.encrypt(&plain, &mut rng(111));
        let templates =
            layout.encode_templates(k, slices(&templates), &mut plain, &mut memory).unwrap();
        let mut blind = zeroed::<Blind<L>>();
        blind.prepare(k, &keys.public, layout, &seed, &mut keys.scratch);
        let folded = fold(k, &ciphertext, templates, &mut blind).unwrap();

        let right = first.add(&second.mul(&model.s));
        let got = noise::folded_values(k, &keys.secret, folded);
        assert_eq!(&got[..users], right.low_end(d), "{layout:?}");
        assert!(got[users..].iter().all(|&v| v == 0));
        // Under a key that has nothing to do with it, all of c1 counts.
        let other = first.add(&second.mul(&secret_of(&wrong.secret)));
        let got = noise::folded_values(k, &wrong.secret, folded);
        assert_eq!(&got[..users], other.low_end(d), "{layout:?}");
    }
}

#[test]
fn folds_match_the_model_q54() {
    folding::<Q54>();
}

#[test]
fn folds_match_the_model_q81() {
    folding::<Q81>();
}
