//! Encryptions of zero from a pool in a static: what is slow is done when nobody waits.
//!
//! `cargo run --release -p symbolon-core --example key_pool`
#![cfg_attr(target_os = "none", no_std, no_main)]

mod start;

use bytemuck::Zeroable;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use symbolon_core::Error;
use symbolon_core::bfv::{KeyPair, Plaintext, Q54, Zero, ZeroMaker};
use symbolon_core::cap::Scalar;
use symbolon_core::kernel::Kernels;
use symbolon_core::ntt::N;
use symbolon_core::poly::{Coeff, Poly};
use symbolon_core::pool::{Fixed, Material, Miss, Policy};
use zeroize::Zeroize;

start::start!(run, Memory);

const CELLS: u32 = 4;

/// Four cells, 260 KiB: all zero at the start, so no part of the program. Any task may take one, and any fill
/// it; where a processor has no compare-and-swap, the feature `critical-section` sees to that.
static ZEROS: Fixed<Zero<Q54>, { CELLS as usize }> = Fixed::new(Policy::new(CELLS));

#[derive(Zeroable)]
struct Memory {
    pair: KeyPair<Q54>,
    plain: Plaintext,
    slots: [i32; N],
    scratch: Poly<Q54, Coeff>,
}

fn run(memory: &mut Memory) -> Result<(), Error> {
    let Memory { pair, plain, slots, scratch } = memory;
    // A real program passes its own entropy: both seeds must be fresh and secret.
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let k = Kernels::scalar(Scalar);
    pair.derive(k, &[2; 32], scratch);

    // When the program starts: an encryption of zero that is a minute old is thrown away. Ticks are seconds.
    ZEROS.set_policy(Policy { ttl: core::num::NonZeroU32::new(60), ..Policy::new(CELLS) });

    // The idle loop.
    let mut now = 100;
    while ZEROS.wanted() > 0 {
        let mut maker = ZeroMaker { kernels: k, key: pair.public_key(), scratch };
        ZEROS.fill(now, |zero| zero.generate(&mut maker, &mut rng))?;
    }

    // A message comes: what is left to do is to add it. The cell is wiped as soon as the lease is dropped.
    now += 30;
    for message in 1..=3 {
        let Ok(mut zero) = ZEROS.acquire(now) else { return Err(Error::ZeroUsed) };
        plain.encode_slots(k, &[message, -message])?;
        let fresh = zero.get_mut().ok_or(Error::ZeroUsed)?;
        let ciphertext = fresh.encrypt(k, plain, scratch)?;
        pair.secret_key().decrypt(k, ciphertext, plain, scratch);
        plain.decode_slots(k, slots)?;
        start::say!("{:?}", &slots[..3]);
        assert_eq!(slots[..3], [message, -message, 0]);
    }
    assert_eq!(ZEROS.level(), 1);

    // The fourth is too old by now: it is wiped, and never handed out.
    now += 30;
    assert_eq!(ZEROS.sweep(now), 1);
    assert_eq!(ZEROS.acquire(now).err(), Some(Miss::Dry));
    let stats = ZEROS.stats();
    assert_eq!((stats.filled, stats.acquired, stats.expired, stats.missed), (4, 3, 1, 1));
    pair.zeroize();
    Ok(())
}
