//! Matching against its definition: scores are inner products, decisions are comparisons, refusals
//! start one above Q/8; and whatever an input can do wrong is an error or a reject.

mod common;

use chacha20::ChaCha20Rng;
use common::*;
use rand_core::Rng;
use symbolon_core::Error;
use symbolon_core::bfv::{
    Ciphertext, GaloisKey, Hoisted, KeyGen, Plaintext, Q54, Q81, SecretKey, Zero, noise,
};
use symbolon_core::matching::mask::masked;
use symbolon_core::matching::{
    Blind, Decisions, Folded, Layout, MAX_USERS, Quantisable, Threshold, fold, quantise, sum,
};
use symbolon_core::poly::{Coeff, Mont, Poly};

const PRIMES: [u64; 3] = [134_176_769, 134_111_233, 134_012_929];

fn modulus<const L: usize>() -> i128 {
    PRIMES[..L].iter().map(|&q| i128::from(q)).product()
}

/// Below every score that a fold of small vectors has, so that only a refusal can reject.
fn lowest(layout: Layout) -> Threshold {
    Threshold::from_cosine(layout, -1.0).unwrap()
}

/// What a gateway, a matcher and a custodian need, around one key pair.
struct Bench<const L: usize> {
    keys: Keys<L>,
    plain: Box<Plaintext>,
    memory: Box<Poly<L, Coeff>>,
    blind: Box<Blind<L>>,
    rng: ChaCha20Rng,
}

impl<const L: usize> Bench<L> {
    fn new(seed: u8) -> Self {
        let (plain, memory, blind) = (zeroed(), zeroed(), zeroed());
        Self { keys: Keys::new(seed), plain, memory, blind, rng: rng(seed) }
    }

    fn probe(&mut self, layout: Layout, probes: &[Vec<i16>]) -> Box<Ciphertext<L>> {
        layout.encode_probes(kernels(), slices(probes), &mut self.plain).unwrap();
        self.keys.encrypt(&self.plain, &mut self.rng)
    }

    /// Folds under a fresh re-randomisation and lets the key holder look.
    fn fold_with<R>(
        &mut self,
        layout: Layout,
        probe: &Ciphertext<L>,
        templates: &Poly<L, Mont>,
        look: impl FnOnce(&SecretKey<L>, &Folded<L>) -> R,
    ) -> R {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let (keys, blind) = (&mut self.keys, &mut self.blind);
        blind.prepare(kernels(), &keys.public, layout, &seed, &mut keys.scratch);
        assert!(keys.scratch.limbs().iter().flatten().all(|&x| x == 0), "scratch holds zeros");
        let folded = fold(kernels(), probe, templates, blind).unwrap();
        assert_eq!(folded.layout(), layout);
        look(&keys.secret, folded)
    }

    fn fold<R>(
        &mut self,
        layout: Layout,
        probe: &Ciphertext<L>,
        templates: &[Vec<i16>],
        look: impl FnOnce(&SecretKey<L>, &Folded<L>) -> R,
    ) -> R {
        let mut memory = zeroed();
        let templates = layout
            .encode_templates(kernels(), slices(templates), &mut self.plain, &mut memory)
            .unwrap();
        assert!(self.plain.coeffs().iter().all(|&c| c == 0), "working space holds zeros");
        self.fold_with(layout, probe, templates, look)
    }

    fn scores(
        &mut self,
        layout: Layout,
        probe: &Ciphertext<L>,
        templates: &[Vec<i16>],
    ) -> [i32; MAX_USERS] {
        self.fold(layout, probe, templates, |secret, folded| {
            let (scores, refused) = noise::folded_scores(kernels(), secret, folded);
            assert!(!refused);
            scores
        })
    }
}

/// The scores of a batch from the definition, zero where a lane has nobody.
fn inner_products(probes: &[Vec<i16>], templates: &[Vec<i16>]) -> [i32; MAX_USERS] {
    let mut out = [0; MAX_USERS];
    for (out, (p, t)) in out.iter_mut().zip(probes.iter().zip(templates)) {
        *out = inner_product(p, t);
    }
    out
}

/// A vector whose squares add up to 32767, the most there may be: flat, or nearly one component.
fn extreme(layout: Layout, flat: bool, sign: i16) -> Vec<i16> {
    let d = layout.dims();
    let mut rest = 32_767;
    let mut out = vec![0i16; d];
    for (i, out) in out.iter_mut().enumerate() {
        // Flat: the even share of what is left; else the largest square that fits.
        let share = if flat && i + 6 < d { rest / (d - i) } else { rest };
        *out = share.isqrt() as i16;
        rest -= share.isqrt().pow(2);
    }
    assert_eq!(rest, 0);
    out.iter().map(|x| x * sign).collect()
}

/// A name, probes and templates.
type Batch = (&'static str, Vec<Vec<i16>>, Vec<Vec<i16>>);

/// Batches that reach the ends, and random ones.
fn batches(layout: Layout, rng: &mut ChaCha20Rng) -> Vec<Batch> {
    let users = layout.users();
    let all = |v: Vec<i16>| vec![v; users];
    let mut random = |n: usize| -> Vec<_> { (0..n).map(|_| random_vector(layout, rng)).collect() };
    let signs = |v: &[i16]| -> Vec<Vec<i16>> {
        (0..users).map(|k| v.iter().map(|x| if k % 2 == 0 { *x } else { -x }).collect()).collect()
    };
    let unit = |i: usize| -> Vec<i16> {
        (0..layout.dims()).map(|j| if i == j { 181 } else { 0 }).collect()
    };
    let (flat, steep) = (extreme(layout, true, 1), extreme(layout, false, 1));
    let holes: Vec<Vec<i16>> = random(users)
        .into_iter()
        .enumerate()
        .map(|(k, v)| if k % 3 == 1 { vec![] } else { v })
        .collect();
    vec![
        ("random", random(users), random(users)),
        ("the same", all(flat.clone()), all(flat.clone())),
        ("opposite", all(flat.clone()), all(extreme(layout, true, -1))),
        ("steep", all(steep.clone()), all(steep.clone())),
        ("steep, opposite", all(extreme(layout, false, -1)), all(steep)),
        ("signs alternate", signs(&flat), all(flat)),
        ("one component each", (0..users).map(unit).collect(), (0..users).map(unit).collect()),
        (
            "last component",
            all(unit(layout.dims() - 1)),
            (0..users).map(|k| unit(layout.dims() - 1 - k % 2)).collect(),
        ),
        ("nobody", vec![], vec![]),
        ("one user", random(1), random(1)),
        ("fewer probes", random(users / 2), random(users)),
        ("fewer templates", random(users), random(users - 1)),
        ("probes with holes", holes.clone(), random(users)),
        ("templates with holes", random(users), holes),
        ("zero probes", all(vec![0; layout.dims()]), random(users)),
    ]
}

fn scores_are_inner_products<const L: usize>() {
    let mut bench = Bench::<L>::new(1);
    let mut vectors = rng(2);
    for layout in LAYOUTS {
        for (name, probes, templates) in batches(layout, &mut vectors) {
            let probe = bench.probe(layout, &probes);
            let got = bench.scores(layout, &probe, &templates);
            assert_eq!(got, inner_products(&probes, &templates), "{layout:?}, {name}");
        }
    }
}

#[test]
fn scores_are_inner_products_q54() {
    scores_are_inner_products::<Q54>();
}

#[test]
fn scores_are_inner_products_q81() {
    scores_are_inner_products::<Q81>();
}

/// Plaintexts are what the definition says: block k's remainder is the user's polynomial.
#[test]
fn encodings_follow_the_definition() {
    let k = kernels();
    let mut vectors = rng(3);
    let mut plain = zeroed::<Plaintext>();
    let mut memory = zeroed::<Poly<Q54, Coeff>>();
    for layout in LAYOUTS {
        let (d, users) = (layout.dims(), layout.users());
        for (name, probes, templates) in batches(layout, &mut vectors) {
            layout.encode_probes(k, slices(&probes), &mut plain).unwrap();
            let probe = words(&plain);
            assert_eq!(probe, probe_poly(layout, &probes), "{layout:?}, {name}");

            let multiplicand =
                layout.encode_templates(k, slices(&templates), &mut plain, &mut memory).unwrap();
            let poly = multiplicand.to_eval(k).inverse(k);
            let lifted = |limb: usize, i: usize| {
                let (x, q) = (i64::from(poly.limbs()[limb][i]), PRIMES[limb] as i64);
                if x > q / 2 { x - q } else { x }
            };
            let want = template_poly(layout, &templates);
            for (i, &want) in want.iter().enumerate() {
                assert_eq!(lifted(0, i), i64::from(centre(want)), "{layout:?}, {name}");
                assert_eq!(lifted(0, i), lifted(1, i));
            }

            // The score is the constant term of the product in each block.
            let product = product(&probe, &want);
            let scores = inner_products(&probes, &templates);
            for (lane, score) in scores[..users].iter().enumerate() {
                let constant = remainder(&product, users, lane)[0];
                assert_eq!(centre(constant), *score, "{layout:?}, {name}, {lane}");
            }

            layout.encode_slots(k, slices(&probes), &mut plain).unwrap();
            let poly = words(&plain);
            // Every slot of one batch, the seams and some others of the rest.
            let step = if name == "probes with holes" { 1 } else { 173 };
            let seams = (0..users).flat_map(|lane| [lane * d, lane * d + d - 1]);
            for i in seams.chain((0..N).step_by(step)) {
                let vector = probes.get(i / d).filter(|v| !v.is_empty());
                let want = vector.map_or(0, |v| i32::from(v[i % d]));
                assert_eq!(slot(&poly, i), want, "{layout:?}, {name}, slot {i}");
            }
        }
    }
}

#[test]
fn encoders_refuse_what_they_cannot_hold() {
    let k = kernels();
    let mut plain = zeroed::<Plaintext>();
    let mut memory = zeroed::<Poly<Q54, Coeff>>();
    for layout in LAYOUTS {
        let (d, users) = (layout.dims(), layout.users());
        let mut over = extreme(layout, true, 1);
        over[d - 1] += 1;
        let cases = [
            (vec![vec![1; d]; users + 1], Error::Length),
            (vec![vec![]; users + 1], Error::Length),
            (vec![vec![1; d - 1]], Error::Length),
            (vec![vec![1; d + 1]], Error::Length),
            (vec![vec![0; d], vec![1]], Error::Length),
            (vec![over], Error::Range),
            (vec![vec![i16::MIN; d]], Error::Range),
            (vec![vec![i16::MAX; d]; users], Error::Range),
        ];
        for (vectors, error) in cases {
            let vectors = || slices(&vectors);
            assert_eq!(layout.encode_probes(k, vectors(), &mut plain), Err(error));
            assert_eq!(layout.encode_slots(k, vectors(), &mut plain), Err(error));
            let refused = layout.encode_templates(k, vectors(), &mut plain, &mut memory);
            assert_eq!(refused.err(), Some(error));
        }
    }
}

#[test]
fn layouts() {
    for dims in 0..600 {
        let fits = LAYOUTS.into_iter().find(|layout| layout.dims() >= dims.max(1));
        let want = fits.filter(|_| dims > 0).ok_or(Error::Dimension);
        assert_eq!(Layout::for_dims(dims), want, "{dims} dimensions");
    }
    assert_eq!(Layout::for_dims(usize::MAX), Err(Error::Dimension));
    for (id, layout) in LAYOUTS.into_iter().enumerate() {
        assert_eq!((layout.id(), Layout::from_id(id as u8)), (id as u8, Some(layout)));
        assert_eq!(layout.dims() * layout.users(), N);
        assert_eq!(layout.all_lanes().count_ones() as usize, layout.users());
        assert_eq!(layout.all_lanes().trailing_ones() as usize, layout.users());
    }
    assert!((3..=255).all(|id| Layout::from_id(id).is_none()));
}

/// One bit a lane: set from the threshold on, clear below, clear where a lane is not asked for.
fn decisions<const L: usize>() {
    let mut bench = Bench::<L>::new(4);
    let mut vectors = rng(5);
    for layout in LAYOUTS {
        let users = layout.users();
        let probes: Vec<_> = (0..users).map(|_| random_vector(layout, &mut vectors)).collect();
        // From the same vector to an unrelated one.
        let templates: Vec<Vec<i16>> = probes
            .iter()
            .enumerate()
            .map(|(k, p)| {
                let stranger = random_vector(layout, &mut vectors);
                let mix = p.iter().zip(stranger).map(|(&p, s)| {
                    (i32::from(p) * (users - k) as i32 + i32::from(s) * k as i32) / users as i32
                });
                mix.map(|x| x as i16).collect()
            })
            .collect();
        let scores = inner_products(&probes, &templates);
        let probe = bench.probe(layout, &probes);
        let square = f64::from(layout.scale()).powi(2);
        bench.fold(layout, &probe, &templates, |secret, folded| {
            let decide = |lanes, threshold| secret.decide(kernels(), folded, lanes, threshold);
            // Just at, above and below each score.
            for score in scores[..users].iter().flat_map(|s| [s - 1, *s, s + 1]) {
                // A vector's score with itself may lie a little above S^2.
                let cosine = (f64::from(score) / square).min(1.0);
                let threshold = Threshold::from_cosine(layout, cosine).unwrap();
                let reached = |lane: &usize| scores[*lane] >= threshold.score();
                let want = (0..users).filter(reached).fold(0, |bits, lane| bits | 1 << lane);
                for lanes in [u32::MAX, layout.all_lanes(), 0, 1, 0x5555_5555, 0xaaaa_aaaa] {
                    let got = decide(lanes, threshold);
                    assert_eq!(got, Decisions { accepted: want & lanes, refused: false });
                }
            }
            // Lanes beyond the users are never set.
            let accepted = decide(u32::MAX, lowest(layout)).accepted;
            assert_eq!(accepted, layout.all_lanes());
        });
    }
}

#[test]
fn decisions_are_comparisons() {
    decisions::<Q54>();
    decisions::<Q81>();
}

#[test]
fn thresholds() {
    for layout in LAYOUTS {
        let square = (layout.scale() * layout.scale()) as i32;
        // Exact in both: k / 2^10.
        for k in -1024..=1024 {
            let threshold = Threshold::from_cosine(layout, f64::from(k) / 1024.0).unwrap();
            let want = -(-k * square).div_euclid(1024);
            assert_eq!(threshold.score(), want, "{layout:?}, {k} / 1024");
        }
        let beyond = [1.0 + f64::EPSILON, -1.0 - f64::EPSILON, f64::NAN, f64::INFINITY, -1e300];
        for cosine in beyond {
            assert_eq!(Threshold::from_cosine(layout, cosine), Err(Error::Threshold));
        }
    }
}

/// t^-1 mod a prime q, by Fermat.
fn inverse_of_t(q: u64) -> u64 {
    let (mut base, mut exp, mut acc) = (T as u64, q - 2, 1);
    while exp > 0 {
        if exp & 1 == 1 {
            acc = acc * base % q;
        }
        base = base * base % q;
        exp >>= 1;
    }
    acc
}

/// Makes a batch whose low-end values are exactly `target`, and returns what the custodian says.
///
/// A ciphertext (c0, 0) times the constant 1 shows t c0 and what the re-randomisation adds, which
/// the same seed with nothing else has shown before.
fn custodian_sees<const L: usize>(
    bench: &mut Bench<L>,
    layout: Layout,
    target: &[i128],
    threshold: Threshold,
) -> (Vec<i32>, Decisions) {
    let k = kernels();
    let (d, users) = (layout.dims(), layout.users());
    let (keys, blind, memory) = (&mut bench.keys, &mut bench.blind, &mut bench.memory);
    let mut one = zeroed::<Poly<L, Coeff>>();
    let one = plaintext(&[1]).to_multiplicand(k, &mut one);
    let seed = [layout.id(); 32];

    let mut crafted = zeroed::<Ciphertext<L>>();
    blind.prepare(k, &keys.public, layout, &seed, &mut keys.scratch);
    let folded = fold(k, &crafted, one, blind).unwrap();
    let added = noise::folded_values(k, &keys.secret, folded);

    let mut limbs = Box::new([[0; N]; L]);
    for (limb, &q) in limbs.iter_mut().zip(&PRIMES) {
        let inverse = inverse_of_t(q);
        for (a, (target, added)) in target.iter().zip(added).enumerate() {
            let difference = (target - added).rem_euclid(i128::from(q)) as u64;
            limb[d * a] = (difference * inverse % q) as u32;
        }
    }
    memory.set_limbs(&limbs).unwrap();
    crafted.add_plain(k, memory.forward(k));
    blind.prepare(k, &keys.public, layout, &seed, &mut keys.scratch);
    let folded = fold(k, &crafted, one, blind).unwrap();
    assert_eq!(&noise::folded_values(k, &keys.secret, folded)[..users], target);
    let (scores, refused) = noise::folded_scores(k, &keys.secret, folded);
    let decisions = keys.secret.decide(k, folded, u32::MAX, threshold);
    assert_eq!(decisions.refused, refused);
    (scores[..users].to_vec(), decisions)
}

/// The scores from low-end values by definition: v = -Q m mod t, and the score of lane k is the
/// message polynomial's value at c_k.
fn scores_of_values<const L: usize>(values: &[i128]) -> Vec<i32> {
    let t = i128::from(T);
    let factor = pow((-modulus::<L>()).rem_euclid(t) as i64, -1);
    let message = |v: &i128| v.rem_euclid(t) as i64 * factor % T;
    let messages: Vec<i64> = values.iter().map(message).collect();
    let score = |k| {
        let c = block_root(values.len(), k);
        centre(messages.iter().rev().fold(0, |acc, m| (acc * c + m) % T))
    };
    (0..values.len()).map(score).collect()
}

/// Values up to Q/8 on either side decide as they should; one more, in any one lane, rejects all.
fn refusals_start_above_the_bound<const L: usize>() {
    let mut bench = Bench::<L>::new(6);
    let mut random = rng(7);
    let q = modulus::<L>();
    let bound = q / 8;
    for layout in LAYOUTS {
        let users = layout.users();
        let mut draw = |bound: i128| {
            let x = i128::from(random.next_u64()) << 32 | i128::from(random.next_u32());
            x % (2 * bound + 1) - bound
        };
        let threshold = Threshold::from_cosine(layout, 0.1).unwrap();
        let mut check = |values: &[i128], refused: bool| {
            let (scores, got) = custodian_sees(&mut bench, layout, values, threshold);
            let want = scores_of_values::<L>(values);
            assert_eq!(scores, want, "{layout:?}");
            let reached = want.iter().enumerate().filter(|(_, s)| **s >= threshold.score());
            let bits = reached.fold(0, |bits, (lane, _)| bits | 1 << lane);
            let accepted = if refused { 0 } else { bits };
            assert_eq!(got, Decisions { accepted, refused }, "{layout:?}, {values:?}");
            bits
        };
        let mut would_accept = 0;
        for lane in 0..users {
            for (edge, refused) in [
                (bound, false),
                (-bound, false),
                (bound + 1, true),
                (-bound - 1, true),
                (q / 2, true),
                (-(q / 2), true),
            ] {
                let mut values: Vec<i128> = (0..users).map(|_| draw(bound)).collect();
                values[lane] = edge;
                would_accept |= check(&values, refused);
            }
        }
        assert_eq!(would_accept, layout.all_lanes(), "the refused ones had reason to be accepted");
        check(&vec![bound; users], false);
        check(&vec![-bound; users], false);
        check(&vec![bound + 1; users], true);
    }
}

#[test]
fn refusals_start_above_the_bound_q54() {
    refusals_start_above_the_bound::<Q54>();
}

#[test]
fn refusals_start_above_the_bound_q81() {
    refusals_start_above_the_bound::<Q81>();
}

/// What no honest gateway or matcher makes is refused, and accepts nobody even at the lowest
/// threshold.
fn garbage<const L: usize>() {
    let k = kernels();
    let mut bench = Bench::<L>::new(8);
    let mut stranger = Keys::<L>::new(9);
    let mut random = rng(10);
    for layout in LAYOUTS {
        let vectors: Vec<Vec<i16>> =
            (0..layout.users()).map(|_| random_vector(layout, &mut random)).collect();
        let honest = bench.probe(layout, &vectors);
        let refuse = |bench: &mut Bench<L>, probe: &Ciphertext<L>, what: &str| {
            bench.fold(layout, probe, &vectors, |secret, folded| {
                let got = secret.decide(k, folded, u32::MAX, lowest(layout));
                assert_eq!(got, Decisions { accepted: 0, refused: true }, "{layout:?}, {what}");
            });
        };

        // The same batch, untouched, is accepted in full.
        bench.fold(layout, &honest, &vectors, |secret, folded| {
            let got = secret.decide(k, folded, u32::MAX, lowest(layout));
            let accepted = layout.all_lanes();
            assert_eq!(got, Decisions { accepted, refused: false });
            // The same folded batch before a custodian with another key.
            let got = stranger.secret.decide(k, folded, u32::MAX, lowest(layout));
            assert_eq!(got, Decisions { accepted: 0, refused: true }, "wrong custodian");
        });

        layout.encode_probes(k, slices(&vectors), &mut bench.plain).unwrap();
        let foreign = stranger.encrypt(&bench.plain, &mut random);
        refuse(&mut bench, &foreign, "another key");

        let mut limbs = Box::new([[0; N]; L]);
        for (limb, &q) in limbs.iter_mut().zip(&PRIMES) {
            limb.fill_with(|| (u64::from(random.next_u32()) % q) as u32);
        }
        let mut noise = zeroed::<Poly<L, Coeff>>();
        noise.set_limbs(&limbs).unwrap();
        let mut tampered = zeroed::<Ciphertext<L>>();
        tampered.copy_from(&honest);
        tampered.add_plain(k, noise.forward(k));
        refuse(&mut bench, &tampered, "uniform first component");

        // One value of c0 in evaluation form flipped: it reaches every coefficient.
        let mut limbs = Box::new([[0; N]; L]);
        limbs[L - 1][1234] = 1 << 26;
        let mut spike = zeroed::<Poly<L, symbolon_core::poly::Eval>>();
        spike.set_limbs(&limbs).unwrap();
        tampered.copy_from(&honest);
        tampered.add_plain(k, &spike);
        refuse(&mut bench, &tampered, "one word changed");

        tampered.copy_from(&honest);
        for _ in 0..8 {
            let factor = plaintext(&random_words(&mut random));
            tampered.multiply_plain(k, factor.to_multiplicand(k, &mut bench.memory));
        }
        refuse(&mut bench, &tampered, "too many products");

        let mut sum = zeroed::<Ciphertext<L>>();
        sum.copy_from(&honest);
        for _ in 0..80 {
            tampered.copy_from(&sum);
            sum.add_assign(k, &tampered);
        }
        refuse(&mut bench, &sum, "too many sums");
    }
}

#[test]
fn garbage_is_refused() {
    garbage::<Q54>();
    garbage::<Q81>();
}

/// A re-randomisation serves once, and not before it is prepared.
fn blinds_serve_once<const L: usize>() {
    let k = kernels();
    let mut keys = Keys::<L>::new(11);
    let mut one = zeroed::<Poly<L, Coeff>>();
    let one = plaintext(&[1]).to_multiplicand(k, &mut one);
    let mut blind = zeroed::<Blind<L>>();
    for layout in LAYOUTS {
        for _ in 0..2 {
            assert!(!blind.is_fresh());
            let refused = fold(k, &Ciphertext::ZERO, one, &mut blind).err();
            assert_eq!(refused, Some(Error::BlindUsed));
            blind.prepare(k, &keys.public, layout, &[1; 32], &mut keys.scratch);
            assert!(blind.is_fresh());
            fold(k, &Ciphertext::ZERO, one, &mut blind).unwrap();
        }
    }
}

#[test]
fn a_blind_serves_once() {
    blinds_serve_once::<Q54>();
    blinds_serve_once::<Q81>();
}

/// An auditor with the seed gets the custodian's input again; without it, something else. Seen
/// under three keys, of which the wrong one shows all of c1 and zero the sums alone.
fn audit<const L: usize>() {
    let k = kernels();
    let mut bench = Bench::<L>::new(12);
    let stranger = Keys::<L>::new(13);
    let zero = zeroed::<SecretKey<L>>();
    let mut random = rng(14);
    for layout in LAYOUTS {
        let vectors: Vec<Vec<i16>> =
            (0..layout.users()).map(|_| random_vector(layout, &mut random)).collect();
        let probe = bench.probe(layout, &vectors);
        let templates = layout
            .encode_templates(k, slices(&vectors), &mut bench.plain, &mut bench.memory)
            .unwrap();
        let keys = &mut bench.keys;
        let mut run = |seed: u8, blind: &mut Blind<L>| {
            blind.prepare(k, &keys.public, layout, &[seed; 32], &mut keys.scratch);
            let folded = fold(k, &probe, templates, blind).unwrap();
            [&keys.secret, &stranger.secret, &zero].map(|s| noise::folded_values(k, s, folded))
        };
        let (mut matcher, mut auditor) = (zeroed(), zeroed());
        // The auditor's memory has served for something else.
        let other = run(2, &mut auditor);
        let first = run(1, &mut matcher);
        let again = run(1, &mut auditor);
        assert!(first == again, "{layout:?}: another fold from the same seed");
        for (key, (a, b)) in first.iter().zip(&other).enumerate() {
            let differ = a.iter().zip(b).filter(|(a, b)| a != b).count();
            assert_eq!(differ, layout.users(), "{layout:?}, key {key}: the seed does not hide");
        }
    }
}

#[test]
fn an_auditor_repeats_the_fold() {
    audit::<Q54>();
    audit::<Q81>();
}

/// The way by full decryption gives the fold's scores and decisions.
fn mask_agrees<const L: usize>() {
    let k = kernels();
    let mut bench = Bench::<L>::new(15);
    let mut vectors = rng(16);
    let (mut out, mut plain) = (zeroed::<Ciphertext<L>>(), zeroed::<Plaintext>());
    for layout in LAYOUTS {
        for (name, probes, templates) in batches(layout, &mut vectors) {
            let probe = bench.probe(layout, &probes);
            let threshold = Threshold::from_cosine(layout, 0.05).unwrap();
            let lanes = 0x7fff_fffd;
            let (scores, decisions) = bench.fold(layout, &probe, &templates, |secret, folded| {
                let (scores, _) = noise::folded_scores(k, secret, folded);
                (scores, secret.decide(k, folded, lanes, threshold))
            });

            layout.encode_slots(k, slices(&probes), &mut plain).unwrap();
            let probe = bench.keys.encrypt(&plain, &mut bench.rng);
            layout.encode_slots(k, slices(&templates), &mut plain).unwrap();
            let templates = plain.to_multiplicand(k, &mut bench.memory);
            let keys = &mut bench.keys;
            masked(
                k,
                &keys.public,
                layout,
                &probe,
                templates,
                &mut bench.rng,
                &mut out,
                &mut plain,
                &mut keys.scratch,
            );
            assert!(plain.coeffs().iter().all(|&c| c == 0), "working space holds zeros");
            let (secret, scratch) = (&keys.secret, &mut keys.scratch);
            let got = noise::masked_scores(k, secret, layout, &out, &mut plain, scratch);
            assert_eq!(got, scores, "{layout:?}, {name}");
            let got = secret.decide_masked(k, layout, &out, lanes, threshold, &mut plain, scratch);
            assert_eq!(got, decisions, "{layout:?}, {name}");
            assert!(plain.coeffs().iter().all(|&c| c == 0), "working space holds zeros");
        }
    }
}

#[test]
fn the_mask_path_agrees_with_the_fold_q54() {
    mask_agrees::<Q54>();
}

#[test]
fn the_mask_path_agrees_with_the_fold_q81() {
    mask_agrees::<Q81>();
}

/// The mask covers each single product: slots are uniform mod t, whatever they hide, and no two
/// runs agree; only each user's sum stays.
#[test]
fn masked_slots_are_uniform() {
    let k = kernels();
    let mut bench = Bench::<Q54>::new(17);
    let (mut out, mut plain) = (zeroed::<Ciphertext<Q54>>(), zeroed::<Plaintext>());
    for layout in LAYOUTS {
        let d = layout.dims();
        let vectors = vec![extreme(layout, false, 1); layout.users()];
        let mut counts = [0u32; 64];
        let (mut slots, mut before) = (Box::new([0; N]), Box::new([0; N]));
        let runs = 32;
        for _ in 0..runs {
            layout.encode_slots(k, slices(&vectors), &mut plain).unwrap();
            let probe = bench.keys.encrypt(&plain, &mut bench.rng);
            let templates = plain.to_multiplicand(k, &mut bench.memory);
            let (keys, rng) = (&mut bench.keys, &mut bench.rng);
            let mut spare = zeroed();
            let scratch = &mut keys.scratch;
            masked(k, &keys.public, layout, &probe, templates, rng, &mut out, &mut spare, scratch);
            keys.secret.decrypt(k, &out, &mut plain, scratch);
            std::mem::swap(&mut slots, &mut before);
            plain.decode_slots(k, &mut slots[..]).unwrap();
            for &x in slots.iter() {
                counts[((i64::from(x) + T / 2) * 64 / T) as usize] += 1;
            }
            let agree = slots.iter().zip(before.iter()).filter(|(a, b)| a == b).count();
            assert!(agree < 8, "{layout:?}: {agree} slots of {N} twice the same");
            for user in slots.chunks(d) {
                let sum = user.iter().map(|&x| i64::from(x)).sum();
                assert_eq!(centre(sum), 32_767, "{layout:?}");
            }
        }
        // Chi-square with 63 degrees of freedom: 143 is exceeded once in 10^7 seeds.
        let expected = (runs * N) as f64 / 64.0;
        let statistic: f64 =
            counts.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum();
        assert!(statistic < 143.0, "{layout:?}: chi-square {statistic}");
    }
}

fn quantised<F: Quantisable>(layout: Layout, vector: &[F]) -> Vec<i16> {
    let mut out = vec![i16::MIN; layout.dims()];
    quantise(kernels(), layout, vector, &mut out).unwrap();
    out
}

fn norm(vector: &[i16]) -> i32 {
    inner_product(vector, vector)
}

/// Vectors made to round as badly as they can stay within the norm, and a scale one larger would
/// not: S is the largest that serves.
#[test]
fn quantised_vectors_fit_for_every_input() {
    let mut random = rng(18);
    for layout in LAYOUTS {
        let d = layout.dims();
        let scale = f64::from(layout.scale());
        // Components just above a half, as many as fit into S^2, so that all are rounded up.
        let worst = |scale: f64| -> Vec<f64> {
            let mut rest = scale * scale;
            let base = (scale / (d as f64).sqrt() - 0.5).floor() + 0.5;
            (0..d)
                .map(|i| {
                    let left = (d - 1 - i) as f64;
                    let x = if i + 1 == d {
                        0.0
                    } else if rest - (base + 1.0).powi(2) >= left * base * base {
                        base + 1.0
                    } else {
                        base
                    };
                    let x = if x * x > rest { 0.0 } else { x };
                    rest -= x * x;
                    if i + 1 == d { rest.max(0.0).sqrt() } else { x * (1.0 + 1e-12) }
                })
                .collect()
        };
        let mut largest = 0;
        let mut plain = zeroed::<Plaintext>();
        let mut check = |vector: &[f64]| {
            let out = quantised(layout, vector);
            largest = largest.max(norm(&out));
            layout.encode_probes(kernels(), [&out[..]], &mut plain).unwrap();
            // Each component is the nearest integer to S x / |x|.
            let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
            for (x, &out) in vector.iter().zip(&out) {
                assert!((x / length * scale - f64::from(out)).abs() <= 0.5 + 1e-9);
            }
        };
        check(&worst(scale));
        let next: f64 = worst(scale + 1.0).iter().map(|x| x.round().powi(2)).sum();
        assert!(next > 32_767.0, "{layout:?}: S = {} would serve as well", scale + 1.0);
        for ones in 1..=d {
            check(&(0..d).map(|i| if i < ones { 1.0 } else { 0.0 }).collect::<Vec<_>>());
        }
        for _ in 0..2_000 {
            let mut draw = || f64::from(random.next_u32()) / 2f64.powi(31) - 1.0;
            check(&(0..d).map(|_| draw() * draw()).collect::<Vec<_>>());
        }
        assert!((32_000..=32_767).contains(&largest), "{layout:?}: largest norm {largest}");
    }
}

#[test]
fn quantisation_does_not_see_the_length() {
    let mut random = rng(19);
    for layout in LAYOUTS {
        for dims in [1, 2, layout.dims() / 2 + 1, layout.dims()] {
            let vector: Vec<f32> =
                (0..dims).map(|_| random.next_u32() as i32 as f32 / 2f32.powi(31)).collect();
            let want = quantised(layout, &vector);
            assert_eq!(want.len(), layout.dims());
            assert!(want[dims..].iter().all(|&x| x == 0), "padded with zeros");
            let wide: Vec<f64> = vector.iter().map(|&x| f64::from(x)).collect();
            assert_eq!(quantised(layout, &wide), want);
            // Powers of two change no mantissa: not the result either, to the ends of the range.
            for exponent in [-990, -500, -1, 1, 500, 1023] {
                let scaled: Vec<f64> = wide.iter().map(|x| x * 2f64.powi(exponent)).collect();
                assert_eq!(quantised(layout, &scaled), want, "2^{exponent}");
            }
            let opposite: Vec<f64> = wide.iter().map(|x| -x).collect();
            assert!(quantised(layout, &opposite).iter().zip(&want).all(|(a, b)| *a == -b));
        }
        let scale = layout.scale() as i16;
        let unit = |x: f64| quantised(layout, &[0.0, x, 0.0])[..3].to_vec();
        for x in [5e-324, f64::MIN_POSITIVE, 1e-160, 1.0, 1e160, f64::MAX] {
            assert_eq!((unit(x), unit(-x)), (vec![0, scale, 0], vec![0, -scale, 0]), "{x}");
        }
        // All components at the ends of the range: no square over- or underflows.
        let flat = quantised(layout, &vec![1.0; layout.dims()]);
        assert_eq!(quantised(layout, &vec![f64::MAX; layout.dims()]), flat);
        assert_eq!(quantised(layout, &vec![5e-324; layout.dims()]), flat);
        assert_eq!(quantised(layout, &vec![f32::MAX; layout.dims()]), flat);
    }
}

#[test]
fn quantisation_refuses_what_has_no_direction() {
    for layout in LAYOUTS {
        let d = layout.dims();
        let mut out = vec![-7i16; d];
        let mut refused = |vector: &[f64], error| {
            assert_eq!(quantise(kernels(), layout, vector, &mut out), Err(error));
            assert!(out.iter().all(|&x| x == -7), "unchanged after an error");
        };
        refused(&[], Error::Dimension);
        refused(&vec![1.0; d + 1], Error::Dimension);
        refused(&vec![0.0; d], Error::ZeroVector);
        refused(&[-0.0], Error::ZeroVector);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for index in [0, 1, d / 2, d - 1] {
                let mut vector = vec![1.0; d];
                vector[index] = bad;
                refused(&vector, Error::NotFinite(index as u16));
                vector[..index].fill(0.0);
                refused(&vector, Error::NotFinite(index as u16));
            }
        }
        let length = |len: usize| quantise(kernels(), layout, &[1.0f32], &mut vec![0; len]);
        for len in [0, 1, d - 1, d + 1, N] {
            assert_eq!(length(len), Err(Error::Length));
        }
        assert_eq!(length(d), Ok(()));
    }
}

#[test]
fn an_encryption_of_zero_serves_once() {
    let k = kernels();
    let mut keys = Keys::<Q54>::new(31);
    let mut rng = rng(32);
    let (first, second) = (random_words(&mut rng), random_words(&mut rng));
    let mut zero = zeroed::<Zero<Q54>>();
    let refused = zero.encrypt(k, &plaintext(&first), &mut keys.scratch).err();
    assert_eq!(refused, Some(Error::ZeroUsed), "never prepared");
    for message in [first, second] {
        zero.prepare(k, &keys.public, &mut rng, &mut keys.scratch);
        assert!(zero.is_fresh());
        let ciphertext = zero.encrypt(k, &plaintext(&message), &mut keys.scratch).unwrap();
        assert!(keys.scratch.limbs().iter().flatten().all(|&x| x == 0), "scratch holds zeros");
        let plain = plaintext(&message);
        let noise = noise::measure(k, &keys.secret, ciphertext, &plain, &mut keys.scratch);
        assert!(noise < noise::FRESH_PUBLIC && noise > 100, "as fresh as any: {noise}");
        assert_eq!(keys.decrypt(ciphertext), message);
        assert!(!zero.is_fresh());
        let again = zero.encrypt(k, &plain, &mut keys.scratch).err();
        assert_eq!(again, Some(Error::ZeroUsed));
    }
}

/// Rotating and adding gives the scores of the fold, and nothing but scores.
#[test]
fn summed_scores_are_the_folds() {
    let k = kernels();
    let mut keys = Keys::<Q81>::new(60);
    let mut generator = zeroed::<KeyGen<Q81>>();
    generator.derive(k, &[60; 32]);
    let galois: Vec<_> = Layout::D512
        .rotations()
        .map(|rotation| {
            let mut key = zeroed::<GaloisKey<Q81>>();
            generator.galois(k, rotation, &mut key);
            key
        })
        .collect();
    let mut rng = rng(61);
    let (mut plain, mut memory, mut out) = (zeroed(), zeroed::<Poly<Q81, Coeff>>(), zeroed());
    let (mut zero, mut space) = (zeroed::<Zero<Q81>>(), zeroed::<Hoisted<Q81>>());
    for layout in LAYOUTS {
        // The sixth lane is left empty.
        let [probes, templates] = [0; 2].map(|_| -> Vec<Vec<i16>> {
            (0..layout.users())
                .map(|user| if user == 5 { vec![] } else { random_vector(layout, &mut rng) })
                .collect()
        });
        layout.encode_probes(k, slices(&probes), &mut plain).unwrap();
        let probe = keys.encrypt(&plain, &mut rng);
        let templates_in = layout.encode_templates(k, slices(&templates), &mut plain, &mut memory);
        let templates_in = templates_in.unwrap();
        let served: Vec<&GaloisKey<Q81>> = galois
            .iter()
            .map(|key| &**key)
            .filter(|key| layout.rotations().any(|r| r.element::<Q81>() == key.element()))
            .collect();

        // A key too few, and a zero that is not one: nothing is done.
        let mut summed = |keys: &[&GaloisKey<Q81>], zero: &mut Zero<Q81>, scratch: &mut _| {
            let (out, space) = (&mut *out, &mut *space);
            sum::summed(k, layout, &probe, templates_in, keys, zero, out, space, scratch)
        };
        assert_eq!(summed(&served, &mut zero, &mut keys.scratch), Err(Error::ZeroUsed));
        zero.prepare(k, &keys.public, &mut rng, &mut keys.scratch);
        assert_eq!(summed(&served[1..], &mut zero, &mut keys.scratch), Err(Error::Keys));
        assert!(zero.is_fresh(), "what is refused uses nothing up");
        summed(&served, &mut zero, &mut keys.scratch).unwrap();
        assert_eq!(summed(&served, &mut zero, &mut keys.scratch), Err(Error::ZeroUsed));

        let scratch = &mut keys.scratch;
        let scores = noise::summed_scores(k, &keys.secret, layout, &out, &mut plain, scratch);
        for (user, score) in scores.into_iter().enumerate() {
            let vectors = probes.get(user).zip(templates.get(user));
            let want = vectors.map_or(0, |(p, t)| inner_product(p, t));
            assert_eq!(score, want, "user {user} of {layout:?}");
        }
        let mut blind = zeroed::<Blind<Q81>>();
        blind.prepare(k, &keys.public, layout, &[9; 32], scratch);
        let folded = fold(k, &probe, templates_in, &mut blind).unwrap();
        assert_eq!(noise::folded_scores(k, &keys.secret, folded), (scores, false));

        // Every slot of a block holds d times the score: nothing else is to be seen.
        keys.secret.decrypt(k, &out, &mut plain, scratch);
        let mut slots = vec![0; N];
        plain.decode_slots(k, &mut slots).unwrap();
        for (block, score) in slots.chunks(layout.dims()).zip(scores) {
            let want = centre(i64::from(score) * layout.dims() as i64);
            assert!(block.iter().all(|&slot| slot == want));
        }
        let threshold = Threshold::from_cosine(layout, 0.3).unwrap();
        let (lanes, plain) = (layout.all_lanes(), &mut plain);
        let decided = keys.secret.decide_summed(k, layout, &out, lanes, threshold, plain, scratch);
        let folded = keys.secret.decide(k, folded, lanes, threshold);
        assert_eq!(decided, folded);
    }
}
