//! The stack that core's entry points use, beyond the large values that their callers provide.
//!
//! `cargo xtask stack` prints the table. An enclave or a microcontroller gives a task a few tens of
//! kilobytes, so every entry point but the ML-DSA ones (measured too, see `attest::mldsa`) stays
//! below [`LIMIT`]. Measured by painting: the unused stack is filled with a pattern, the entry point
//! runs, and the deepest word that lost the pattern says how far down it went.
#![cfg(not(miri))]

#[path = "common/available.rs"]
mod available;

use available::available;
use bytemuck::Zeroable;
use chacha20::{ChaCha12Rng, ChaCha20Rng};
use rand_core::{Rng, SeedableRng};
use std::collections::HashSet;
use std::hint::black_box;
use std::{array, iter, ptr, thread};
use symbolon_core::attest::{
    Domain, Leaf, MAX_LEAVES, PUBLIC_KEY_SIZE, Path, Receipt, SIGNATURE_SIZE, SigningKey,
    Statement, VerifyingKey, bulk, commit, hash, merkle,
};
use symbolon_core::bfv::{
    Ciphertext, GaloisKey, Hoisted, KeyGen, Multiply, Plaintext, Product, PublicKey, Q54, Q81,
    Q108, Q135, RelinKey, Rotation, SecretKey, SeededCiphertext, Switch, Tensor, Zero, encrypt,
    generate, params,
};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::mask::masked;
use symbolon_core::matching::{
    Blind, Decisions, Folded, Layout, MAX_USERS, Threshold, fold, quantise,
};
use symbolon_core::ntt::N;
use symbolon_core::place;
use symbolon_core::poly::{Coeff, Poly};
use symbolon_core::rns::Rns;
use symbolon_core::sample::{self, Stream};
use symbolon_core::wire::Wire;
use symbolon_core::zt::T;

/// What an entry point may use: 8 KiB.
const LIMIT: usize = 8 << 10;

/// How far down the stack is painted: more than the 288 KiB of an ML-DSA key expansion.
const PAINTED: usize = 1 << 20;

/// Not painted, because the painter's own frame is there. No result is below this.
const SKIPPED: usize = 512;

const PATTERN: u64 = 0x5afe_57ac_5afe_57ac;

/// What `run` returns, and the bytes of stack from here down to the deepest word it overwrites.
#[inline(never)]
fn measure<T>(run: impl FnOnce() -> T) -> (T, usize) {
    #[inline(never)]
    fn call<T>(run: impl FnOnce() -> T) -> T {
        run()
    }
    let marker = 0_u64;
    let top = (&raw const marker).expose_provenance();
    paint(top);
    let result = call(run);
    black_box(&marker);
    (result, depth(top))
}

/// Fills the stack below a caller's frame, `top` downwards.
#[inline(never)]
fn paint(top: usize) {
    let here = (&raw const top).addr();
    assert!(here > top - SKIPPED / 2, "the painter would overwrite itself");
    for at in (top - PAINTED..top - SKIPPED).step_by(size_of::<u64>()).rev() {
        // SAFETY: aligned, since `top` is; on the thread's stack, which is several times PAINTED;
        // and below every live frame, this leaf's included, as was just asserted.
        unsafe { ptr::with_exposed_provenance_mut::<u64>(at).write_volatile(PATTERN) };
    }
}

/// The distance from `top` to the lowest word that is no longer as [`paint`] left it.
#[inline(never)]
fn depth(top: usize) -> usize {
    let lost = |&at: &usize| {
        // SAFETY: as in `paint`, which has written every one of these words.
        unsafe { ptr::with_exposed_provenance::<u64>(at).read_volatile() != PATTERN }
    };
    let deepest = (top - PAINTED..top - SKIPPED).step_by(size_of::<u64>()).find(lost);
    assert_ne!(deepest, Some(top - PAINTED), "more stack used than was painted");
    top - deepest.unwrap_or(top - SKIPPED)
}

/// Runs on a thread of known, ample stack.
fn on_ample_stack(run: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(4 * PAINTED).spawn(run).unwrap();
    thread.join().unwrap();
}

/// A large value in place, for the length of the test.
fn zeroed<T: Zeroable>() -> &'static mut T {
    place::zeroed(Box::leak(Box::new_uninit()))
}

/// Entry points and the bytes of stack they used.
struct Table(Vec<(&'static str, usize)>);

impl Table {
    fn new(heading: &str) -> Self {
        println!("\n{heading}: bytes of stack, {SKIPPED} meaning at most that");
        Self(Vec::new())
    }

    fn measure<T>(&mut self, name: &'static str, run: impl FnOnce() -> T) -> T {
        let (result, bytes) = measure(run);
        println!("  {bytes:>7}  {name}");
        self.0.push((name, bytes));
        result
    }

    fn assert_below_limit(&self) {
        let over: Vec<_> = self.0.iter().filter(|(_, bytes)| *bytes >= LIMIT).collect();
        assert!(over.is_empty(), "not below {LIMIT} bytes of stack: {over:?}");
    }
}

/// Keys, encryption, evaluation, matching.
fn arithmetic<const L: usize>(k: &Kernels) {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let secret = zeroed::<SecretKey<L>>();
    let public = zeroed::<PublicKey<L>>();
    let plain = zeroed::<Plaintext>();
    let mask = zeroed::<Plaintext>();
    let probe = zeroed::<Ciphertext<L>>();
    let other = zeroed::<Ciphertext<L>>();
    let seeded = zeroed::<SeededCiphertext<L>>();
    let multiplicand = zeroed::<Poly<L, Coeff>>();
    let scratch = zeroed::<Poly<L, Coeff>>();
    let blind = zeroed::<Blind<L>>();
    let slots = zeroed::<[i32; N]>();
    slots.fill_with(|| (rng.next_u32() & 0xffff) as i32 - 0x8000);

    let mut table = Table::new(&format!("{}, {} kernels", params::name::<L>(), k.isa()));
    table.measure("bfv::generate", || generate(k, &[7; 32], secret, public, scratch));
    table.measure("Plaintext::encode_slots", || plain.encode_slots(k, slots)).unwrap();
    table.measure("bfv::encrypt", || encrypt(k, public, plain, &mut rng, probe, scratch));
    table.measure("SecretKey::encrypt", || secret.encrypt(k, plain, &mut rng, seeded, scratch));
    table.measure("SeededCiphertext::expand", || seeded.expand(k, other));
    table.measure("Ciphertext::add_assign", || probe.add_assign(k, other));
    let factor =
        table.measure("Plaintext::to_multiplicand", || plain.to_multiplicand(k, multiplicand));
    table.measure("Ciphertext::multiply_plain", || probe.multiply_plain(k, factor));
    table.measure("SecretKey::decrypt", || secret.decrypt(k, probe, plain, scratch));
    let expected: Vec<i32> = slots.iter().map(|&x| centred(2 * i64::from(x).pow(2))).collect();
    table.measure("Plaintext::decode_slots", || plain.decode_slots(k, slots)).unwrap();
    assert_eq!(slots[..], expected, "what was measured was the whole work");

    let layout = Layout::D128;
    let threshold = Threshold::from_cosine(layout, 0.9).unwrap();
    let embedding: [f32; 128] = array::from_fn(|i| i as f32 - 60.5);
    let mut vector = [0_i16; 128];
    table.measure("quantise", || quantise(k, layout, &embedding, &mut vector)).unwrap();
    let vectors = || iter::repeat_n(&vector[..], MAX_USERS);

    table.measure("Layout::encode_probes", || layout.encode_probes(k, vectors(), plain)).unwrap();
    encrypt(k, public, plain, &mut rng, probe, scratch);
    let templates = table
        .measure("Layout::encode_templates", || {
            layout.encode_templates(k, vectors(), plain, multiplicand)
        })
        .unwrap();
    table.measure("Blind::prepare", || blind.prepare(k, public, layout, &[9; 32], scratch));
    let folded = table.measure("matching::fold", || fold(k, probe, templates, blind)).unwrap();
    let decisions = table.measure("SecretKey::decide", || secret.decide(k, folded, !0, threshold));
    assert_eq!(decisions, Decisions { accepted: !0, refused: false });

    table.measure("Layout::encode_slots", || layout.encode_slots(k, vectors(), plain)).unwrap();
    encrypt(k, public, plain, &mut rng, probe, scratch);
    let templates = plain.to_multiplicand(k, multiplicand);
    table.measure("mask::masked", || {
        masked(k, public, layout, probe, templates, &mut rng, other, mask, scratch);
    });
    let decisions = table.measure("SecretKey::decide_masked", || {
        secret.decide_masked(k, layout, other, !0, threshold, plain, scratch)
    });
    assert_eq!(decisions, Decisions { accepted: !0, refused: false });

    let bytes = &mut vec![0; Ciphertext::<L>::SIZE][..];
    table.measure("wire: encode Ciphertext", || other.encode(k, bytes)).unwrap();
    table.measure("wire: decode Ciphertext", || probe.decode(k, bytes)).unwrap();
    let bytes = &mut vec![0; SeededCiphertext::<L>::SIZE][..];
    table.measure("wire: encode SeededCiphertext", || seeded.encode(k, bytes)).unwrap();
    table.measure("wire: decode SeededCiphertext", || seeded.decode(k, bytes)).unwrap();
    let bytes = &mut vec![0; PublicKey::<L>::SIZE][..];
    table.measure("wire: encode PublicKey", || public.encode(k, bytes)).unwrap();
    table.measure("wire: decode PublicKey", || public.decode(k, bytes)).unwrap();
    let bytes = &mut vec![0; Folded::<L>::SIZE][..];
    table.measure("wire: encode Folded", || folded.encode(k, bytes)).unwrap();
    table.measure("wire: decode Folded", || folded.decode(k, bytes)).unwrap();
    let decisions = secret.decide(k, folded, !0, threshold);
    assert_eq!(decisions, Decisions { accepted: !0, refused: false });
    table.assert_below_limit();
}

/// Switching keys and rotations, in either degree.
fn rotations<const L: usize, const PARTS: usize>(k: &Kernels) -> Table
where
    Rns<L>: Switch,
{
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let (secret, public) = (zeroed::<SecretKey<L>>(), zeroed::<PublicKey<L>>());
    let (keys, galois) = (zeroed::<KeyGen<L>>(), zeroed::<GaloisKey<L>>());
    let (plain, message) = (zeroed::<Plaintext<PARTS>>(), zeroed::<Plaintext<PARTS>>());
    let (x, other) = (zeroed::<Ciphertext<L>>(), zeroed::<Ciphertext<L>>());
    let (space, scratch) = (zeroed::<Hoisted<L>>(), zeroed::<Poly<L, Coeff>>());
    let mut rows: Vec<i32> = (0..(PARTS * N) as i32).map(|i| i % 301 - 150).collect();

    let mut table = Table::new(&format!("{}, {} kernels: general", params::name::<L>(), k.isa()));
    table.measure("bfv::generate", || generate(k, &[7; 32], secret, public, scratch));
    table.measure("KeyGen::derive", || keys.derive(k, &[7; 32]));
    table.measure("KeyGen::galois", || keys.galois(k, Rotation::Rows(1), galois));
    table.measure("Plaintext::encode_rows", || plain.encode_rows(k, &rows)).unwrap();
    table.measure("bfv::encrypt", || encrypt(k, public, plain, &mut rng, x, scratch));
    table.measure("Hoisted::prepare", || space.prepare(k, x, scratch));
    table.measure("Hoisted::rotate", || space.rotate(k, galois, other, scratch));
    table.measure("Ciphertext::rotate", || x.rotate(k, galois, space, scratch));
    table.measure("Ciphertext::rotate_sum", || x.rotate_sum(k, [&*galois], space, scratch));
    table.measure("SecretKey::decrypt", || secret.decrypt(k, x, message, scratch));
    let before = rows.clone();
    table.measure("Plaintext::decode_rows", || message.decode_rows(k, &mut rows)).unwrap();
    for (after, before) in rows.chunks(PARTS * N / 2).zip(before.chunks(PARTS * N / 2)) {
        let turned = |i: usize| before[i % before.len()];
        assert!((0..before.len()).all(|i| after[i] == turned(i + 1) + turned(i + 2)));
    }
    let bytes = &mut vec![0; GaloisKey::<L>::SIZE][..];
    table.measure("wire: encode GaloisKey", || galois.encode(k, bytes)).unwrap();
    table.measure("wire: decode GaloisKey", || galois.decode(k, bytes)).unwrap();
    table
}

/// Products of ciphertexts.
fn products<const L: usize>(k: &Kernels, table: &mut Table)
where
    Rns<L>: Multiply,
{
    let (keys, relin) = (zeroed::<KeyGen<L>>(), zeroed::<RelinKey<L>>());
    let (x, scratch) = (zeroed::<Ciphertext<L>>(), zeroed::<Poly<L, Coeff>>());
    let (product, tensor) = (zeroed::<Product<L>>(), zeroed::<Tensor<L>>());
    let space = zeroed::<Hoisted<L>>();
    keys.derive(k, &[7; 32]);
    table.measure("KeyGen::relin", || keys.relin(k, relin));
    table.measure("Product::multiply", || product.multiply(k, x, x, tensor));
    table.measure("Product::relinearise", || product.relinearise(k, relin, x, space, scratch));
    let bytes = &mut vec![0; RelinKey::<L>::SIZE][..];
    table.measure("wire: encode RelinKey", || relin.encode(k, bytes)).unwrap();
    table.measure("wire: decode RelinKey", || relin.decode(k, bytes)).unwrap();
}

/// One prime less.
fn switch_modulus<const L: usize, const M: usize>(k: &Kernels, table: &mut Table) {
    let (x, scratch) = (zeroed::<Ciphertext<L>>(), zeroed::<Poly<L, Coeff>>());
    let out = zeroed::<Ciphertext<M>>();
    table.measure("Ciphertext::switch_modulus", || x.switch_modulus(k, out, scratch));
}

/// x mod t, centred.
fn centred(x: i64) -> i32 {
    let t = i64::from(T);
    ((x + t / 2).rem_euclid(t) - t / 2) as i32
}

/// Leaves, trees, receipts; then the signatures, which are printed only.
fn attest() {
    let mut table = Table::new("attest");
    let digest = table.measure("attest::hash", || hash(Domain::BLIND, &[&[1; 32]]));
    table.measure("attest::commit", || commit(Domain::TEMPLATE, &[2; 32], &[3; 256]));
    table.measure("attest::bulk", || bulk(Domain::PROBE, &[&[4; 4096], &[5; 100]]));
    let leaf = Leaf {
        request: [1; 16],
        nonce: [2; 16],
        identity: digest,
        accept: true,
        probe: digest,
        template: digest,
        blind: digest,
    };
    let leaves = [table.measure("Leaf::hash", || leaf.hash()); MAX_LEAVES];
    let root = table.measure("merkle::root", || merkle::root(&leaves)).unwrap();
    let mut path = Path::EMPTY;
    table.measure("merkle::path", || merkle::path(&leaves, 21, &mut path)).unwrap();
    let led = table.measure("Path::root", || path.root(&leaves[21], 21, MAX_LEAVES));
    assert_eq!(led, Ok(root));

    let statement = Statement {
        deployment: [3; 16],
        key_epoch: 1,
        params: 2,
        mode: 0,
        dims: 128,
        threshold: 0,
        batch: [4; 16],
        time_ms: 0,
        count: MAX_LEAVES as u8,
        result: digest,
        root,
    };
    let mut signature = [0; SIGNATURE_SIZE];
    let mut bytes = [0; Receipt::MAX_SIZE];
    let receipt = Receipt { statement, leaf, index: 21, path, signature: &signature };
    table.measure("Receipt::encode", || receipt.encode(&mut bytes)).unwrap();
    table.measure("Receipt::decode_exact", || Receipt::decode_exact(&bytes).map(|_| ())).unwrap();
    table.assert_below_limit();

    let mut table = Table::new("ML-DSA-65: no limit");
    let slot = Box::leak(Box::new(None));
    let key = table.measure("SigningKey::init", || SigningKey::init(slot, &[5; 32]));
    let mut public = [0; PUBLIC_KEY_SIZE];
    table.measure("SigningKey::public_key", || key.public_key(&mut public));
    let mut rng = ChaCha20Rng::from_seed([6; 32]);
    let depth = || statement.sign(key, &mut rng, &mut signature);
    table.measure("Statement::sign", depth).unwrap();
    let key = table.measure("VerifyingKey::decode", || VerifyingKey::decode(&public));
    let receipt = Receipt { statement, leaf, index: 21, path, signature: &signature };
    table.measure("Receipt::verify", || receipt.verify(&key).map(|_| ())).unwrap();
}

#[test]
#[cfg_attr(debug_assertions, ignore = "frames are those of a release build: cargo xtask stack")]
fn entry_points_keep_to_little_stack() {
    on_ample_stack(|| {
        for k in available() {
            arithmetic::<Q54>(k);
            arithmetic::<Q81>(k);
            rotations::<Q54, 1>(k).assert_below_limit();
            let mut table = rotations::<Q81, 1>(k);
            products::<Q81>(k, &mut table);
            switch_modulus::<Q81, Q54>(k, &mut table);
            table.assert_below_limit();
            let mut table = rotations::<Q135, 2>(k);
            products::<Q135>(k, &mut table);
            switch_modulus::<Q135, Q108>(k, &mut table);
            table.assert_below_limit();
        }
        attest();
    });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "frames are those of a release build: cargo xtask stack")]
fn the_meter_sees_what_is_used() {
    #[inline(never)]
    fn uses<const BYTES: usize>() -> u8 {
        let mut buffer = [0_u8; BYTES];
        black_box(&mut buffer).fill(1);
        black_box(&buffer)[BYTES / 2]
    }
    on_ample_stack(|| {
        assert!(measure(|| ()).1 <= SKIPPED + 64);
        for (depth, bytes) in [
            (measure(uses::<1024>).1, 1024),
            (measure(uses::<8192>).1, 8192),
            (measure(uses::<300_000>).1, 300_000),
        ] {
            assert!((bytes..bytes + 1024).contains(&depth), "{depth} measured, {bytes} used");
        }
    });
}

/// Drops a value where it lies and looks at what is left: whether all is zero but for `rest` bytes.
fn wiped<T>(value: Box<T>, rest: usize) -> bool {
    let memory = Box::into_raw(value);
    // SAFETY: the value is dropped once; its memory is freed as bytes of the same layout, which may
    // still be read: they were initialised, padding (zeroed when it was made) included.
    unsafe {
        ptr::drop_in_place(memory);
        let bytes = memory.cast::<u8>();
        let left = (0..size_of::<T>()).filter(|&i| bytes.add(i).read_volatile() != 0).count();
        drop(Box::from_raw(memory.cast::<std::mem::MaybeUninit<T>>()));
        left <= rest
    }
}

/// Secrets that were made ahead and have not served leave nothing in memory but a flag; what has
/// served is public and stays.
#[test]
fn what_was_made_ahead_is_wiped() {
    fn boxed<T: Zeroable>() -> Box<T> {
        bytemuck::zeroed_box()
    }
    for k in available() {
        let (mut secret, mut public) = (boxed::<SecretKey<Q54>>(), boxed::<PublicKey<Q54>>());
        let (mut scratch, mut rng) = (boxed(), ChaCha20Rng::from_seed([1; 32]));
        generate(k, &[7; 32], &mut secret, &mut public, &mut scratch);

        let [mut fresh, mut used] = [(); 2].map(|()| boxed::<Zero<Q54>>());
        fresh.prepare(k, &public, &mut rng, &mut scratch);
        used.prepare(k, &public, &mut rng, &mut scratch);
        used.encrypt(k, &Plaintext::<1>::ZERO, &mut scratch).unwrap();
        assert!(wiped(fresh, 1), "encryption of zero, {}", k.isa());
        assert!(!wiped(used, N), "it serves on as a ciphertext");

        let mut blind = boxed::<Blind<Q54>>();
        blind.prepare(k, &public, Layout::D128, &[9; 32], &mut scratch);
        assert!(wiped(blind, 1), "re-randomisation, {}", k.isa());
        let mut plain = boxed::<Plaintext>();
        plain.encode_coeffs(&[5; N]).unwrap();
        assert!(wiped(plain, 0), "plaintext");
        assert!(wiped(secret, 0), "secret key");
        let mut keys = boxed::<KeyGen<Q54>>();
        keys.derive(k, &[7; 32]);
        keys.relin(k, &mut boxed());
        assert!(wiped(keys, 0), "generator of switching keys");
    }
}

/// How many of the 32-bit words that `run` leaves on the stack are among `words`.
#[inline(never)]
fn left_behind(words: &HashSet<u32>, run: &mut dyn FnMut()) -> usize {
    let marker = 0_u64;
    let top = (&raw const marker).expose_provenance();
    paint(top);
    run();
    let left = (top - PAINTED..top - SKIPPED).step_by(size_of::<u32>()).filter(|&at| {
        // SAFETY: as in `depth`; half a word of it is aligned for its own size.
        words.contains(&unsafe { ptr::with_exposed_provenance::<u32>(at).read_volatile() })
    });
    let count = left.count();
    black_box(&marker);
    count
}

/// Working space is wiped: of the keystream that samples were made of, and of the scores, no more
/// than a few spilled registers stay.
#[test]
#[cfg_attr(debug_assertions, ignore = "frames are those of a release build: cargo xtask stack")]
fn little_of_a_secret_stays_on_the_stack() {
    on_ample_stack(|| {
        for k in available() {
            let poly = zeroed::<Poly<Q54, Coeff>>();
            let mut rng = ChaCha12Rng::from_seed([1; 32]);
            let keystream: HashSet<u32> = (0..22 * 256).map(|_| rng.next_u32()).collect();
            let stream = || Stream::new(&[1; 32]);
            let ternary = left_behind(&keystream, &mut || sample::ternary(k, &mut stream(), poly));
            let noise = left_behind(&keystream, &mut || sample::noise(k, &mut stream(), poly));
            println!("{}: {ternary} and {noise} words of keystream", k.isa());
            assert!(ternary < 128 && noise < 128, "{}", k.isa());

            let secret = zeroed::<SecretKey<Q54>>();
            let public = zeroed::<PublicKey<Q54>>();
            generate(k, &[7; 32], secret, public, poly);
            let (plain, probe) = (zeroed::<Plaintext>(), zeroed::<Ciphertext<Q54>>());
            let layout = Layout::D128;
            let vector: [i16; 128] = array::from_fn(|i| (i * 37 % 31) as i16 - 15);
            let vectors = || iter::repeat_n(&vector[..], MAX_USERS);
            layout.encode_probes(k, vectors(), plain).unwrap();
            encrypt(k, public, plain, &mut ChaCha20Rng::from_seed([2; 32]), probe, poly);
            let blind = zeroed::<Blind<Q54>>();
            blind.prepare(k, public, layout, &[9; 32], poly);
            let templates = layout.encode_templates(k, vectors(), plain, poly).unwrap();
            let folded = fold(k, probe, templates, blind).unwrap();
            let score: i32 = vector.iter().map(|&x| i32::from(x).pow(2)).sum();
            let threshold = Threshold::from_cosine(layout, 0.1).unwrap();
            let scores = left_behind(&HashSet::from([score as u32]), &mut || {
                black_box(secret.decide(k, folded, !0, threshold));
            });
            println!("{}: {scores} of {MAX_USERS} scores", k.isa());
            assert!(scores < MAX_USERS / 4, "{}", k.isa());
        }
    });
}
