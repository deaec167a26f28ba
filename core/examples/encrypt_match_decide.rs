//! The whole story in one process: two people's faces are matched while encrypted.
//!
//! `cargo run --release -p symbolon-core --example encrypt_match_decide`
#![cfg_attr(target_os = "none", no_std, no_main)]

mod start;

use bytemuck::Zeroable;
use chacha20::ChaCha20Rng;
use libm::{cosf, sinf};
use rand_core::SeedableRng;
use symbolon_core::bfv::{Ciphertext, Plaintext, PublicKey, Q54, SecretKey, encrypt, generate};
use symbolon_core::cap::Scalar;
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Blind, Layout, Threshold, fold, quantise};
use symbolon_core::poly::{Coeff, Poly};
use zeroize::Zeroize;

start::start!(run, Memory);

/// Everything large, 272 KiB. Core allocates nothing and moves nothing of it: the caller says where
/// it lives. Here that is a box or, on a microcontroller, a static.
#[derive(Zeroable)]
struct Memory {
    secret: SecretKey<Q54>,
    public: PublicKey<Q54>,
    plain: Plaintext,
    probe: Ciphertext<Q54>,
    factor: Poly<Q54, Coeff>,
    blind: Blind<Q54>,
    scratch: Poly<Q54, Coeff>,
}

fn run(memory: &mut Memory) -> Result<(), symbolon_core::Error> {
    let Memory { secret, public, plain, probe, factor, blind, scratch } = memory;
    let (k, layout) = (Kernels::scalar(Scalar), Layout::for_dims(128)?);
    // A real program passes its own entropy: this seed and those below must be fresh and secret.
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    // What a face network would give: Alice when she enrols, Alice today, and somebody else.
    let faces: [fn(f32) -> f32; 3] = [sinf, |x| sinf(x) + 0.1 * cosf(x), cosf];
    let mut vectors = [[0i16; 128]; 3];
    for (face, out) in faces.iter().zip(&mut vectors) {
        quantise(k, layout, &core::array::from_fn::<_, 128, _>(|i| face(i as f32)), out)?;
    }
    let [alice, alice_today, mallory] = vectors.each_ref().map(|v| &v[..]);

    // Custodian: makes the keys, keeps the secret one.
    generate(k, &[2; 32], secret, public, scratch);
    // Gateway: encrypts the probes. Both people claim to be Alice.
    layout.encode_probes(k, [alice_today, mallory], plain)?;
    encrypt(k, public, plain, &mut rng, probe, scratch);
    // Matcher: multiplies with the templates, hides everything but the scores. Sees no score.
    let templates = layout.encode_templates(k, [alice, alice], plain, factor)?;
    blind.prepare(k, public, layout, &[3; 32], scratch);
    let folded = fold(k, probe, templates, blind)?;
    // Custodian: one bit a lane. Sees no probe and no template.
    let decisions = secret.decide(k, folded, 0b11, Threshold::from_cosine(layout, 0.8)?);
    secret.zeroize();
    let verdict = |lane: u32| if decisions.accepted >> lane & 1 == 1 { "accept" } else { "reject" };
    start::say!("Alice: {}\nMallory: {}", verdict(0), verdict(1));
    Ok(())
}
