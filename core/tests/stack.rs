//! The stack that core's entry points use, beyond the large values that their callers provide.
//!
//! `cargo xtask stack` prints the table. An enclave or a microcontroller gives a task a few tens of
//! kilobytes, so every entry point but those of signatures and ML-KEM (measured too) stays
//! below [`LIMIT`]. Measured by painting: the unused stack is filled with a pattern, the entry point
//! runs, and the deepest word that lost the pattern says how far down it went.
#![cfg(not(miri))]

#[path = "common/available.rs"]
mod available;

use available::available;
use bytemuck::Zeroable;
use chacha20::{ChaCha12Rng, ChaCha20Rng};
use libcrux_ml_dsa::ml_dsa_65 as libcrux;
use libcrux_ml_kem::mlkem768;
use rand_core::{Rng, SeedableRng};
use std::collections::HashSet;
use std::hint::black_box;
use std::{array, iter, ptr, thread};
use symbolon_core::attest::{
    self as attest, Batch, BatchPath, BatchTree, Domain, Error, Family, KeySet, Leaf, LeafHasher,
    MAX_BATCHES, MAX_LEAVES, Receipt, SEED_SIZE, Sign, Signatures, StreamBuffer, StreamVerifier,
    Validity, Verify, Window, WindowPath, WindowTree, bulk, commit, fndsa, hash, key_id, mldsa,
    slhdsa,
};
use symbolon_core::bfv::{
    self, Ciphertext, GaloisKey, Hoisted, KeyGen, KeyPair, KeyPairMaker, KeySetMaker, Multiply,
    Plaintext, Product, PublicKey, Q54, Q81, Q108, Q135, RelinKey, Rotation, SecretKey,
    SeededCiphertext, Switch, Tensor, Zero, ZeroMaker, encrypt, generate, params,
};
use symbolon_core::kem::{self, Decapsulate, Encapsulate, mlkem};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::mask::masked;
use symbolon_core::matching::{
    Blind, BlindMaker, Decisions, Folded, Layout, MAX_USERS, SeededBlind, Threshold, fold, quantise,
};
use symbolon_core::ntt::N;
use symbolon_core::place;
use symbolon_core::poly::{Coeff, Poly};
use symbolon_core::pool::Material;
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
    let maker = &mut BlindMaker { kernels: k, key: public, layout, scratch };
    material::<SeededBlind<L>>(&mut table, maker);
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

/// What a pool does with one of a kind.
fn material<M: Material>(table: &mut Table, maker: &mut M::Maker<'_>) {
    println!("    {}", M::NAME);
    let (value, rng) = (zeroed::<M>(), &mut ChaCha20Rng::from_seed([1; 32]));
    table.measure("Material::generate", || value.generate(maker, rng)).unwrap();
    let bytes = &mut vec![0; M::PUBLIC_SIZE][..];
    table.measure("Material::public", || value.public(maker, bytes)).unwrap();
    let bytes = &mut vec![0; M::SERIAL_SIZE][..];
    table.measure("Material::serialise", || value.serialise(maker, bytes)).unwrap();
    table.measure("Material::zeroize", || value.zeroize());
    table.measure("Material::restore", || value.restore(maker, bytes)).unwrap();
}

/// The kinds of keys of BFV.
fn kinds<const L: usize>(k: &'static Kernels) -> Table
where
    Rns<L>: Switch,
{
    let mut table = Table::new(&format!("{}, {} kernels: pools", params::name::<L>(), k.isa()));
    let key = zeroed::<PublicKey<L>>();
    let scratch = zeroed::<Poly<L, Coeff>>();
    generate(k, &[7; 32], zeroed(), key, scratch);
    material::<Zero<L>>(&mut table, &mut ZeroMaker { kernels: k, key, scratch });
    material::<KeyPair<L>>(&mut table, &mut KeyPairMaker { kernels: k, scratch });
    let (keygen, rotations) = (zeroed(), &[Rotation::Swap]);
    let maker = &mut KeySetMaker { kernels: k, scratch, keygen, rotations };
    material::<bfv::KeySet<L, 1>>(&mut table, maker);
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
    let k = available().pop().expect("portable ones at least");
    table.measure("attest::bulk", || bulk(k, Domain::PROBE, &[&[4; 4096], &[5; 100]]));
    let leaf = Leaf {
        request: [1; 16],
        nonce: [2; 16],
        identity: digest,
        accept: true,
        proof: Some(digest),
        template: digest,
    };
    let leaves = [table.measure("Leaf::hash", || leaf.hash()); MAX_LEAVES];
    let mut hashes = leaves;
    let hasher = table.measure("LeafHasher::new", || LeafHasher::new(k));
    let all = [leaf; MAX_LEAVES];
    table.measure("LeafHasher::hash", || hasher.hash(k, &all, &mut hashes));
    assert_eq!(hashes, leaves);
    let mut tree = BatchTree::new();
    let root = table.measure("BatchTree::build", || tree.build(k, &leaves)).unwrap();
    let mut path = BatchPath::EMPTY;
    table.measure("BatchTree::path", || tree.path(21, &mut path)).unwrap();
    let led = table.measure("BatchPath::root", || path.root(&leaves[21], 21, MAX_LEAVES));
    assert_eq!(led, Ok(root));
    let batch = Batch {
        deployment: [3; 16],
        key_epoch: 1,
        params: 2,
        mode: 0,
        dims: 128,
        threshold: 0,
        policy: digest,
        verifier: 0,
        batch: [4; 16],
        time_ms: 0,
        count: MAX_LEAVES as u8,
        probe: digest,
        blind: digest,
        result: digest,
        root,
    };
    let leaves = vec![table.measure("Batch::hash", || batch.hash()); MAX_BATCHES];
    let mut tree: Box<WindowTree> = bytemuck::zeroed_box();
    let root = table.measure("WindowTree::build", || tree.build(k, &leaves)).unwrap();
    let mut window_path = WindowPath::EMPTY;
    table.measure("WindowTree::path", || tree.path(77, &mut window_path)).unwrap();

    let slots = Box::leak(Box::new((None, None, None)));
    let ml_dsa = mldsa::SigningKey::init(&mut slots.0, &[5; SEED_SIZE]);
    let fn_dsa = fndsa::SigningKey::init(&mut slots.1, &[6; SEED_SIZE]);
    let slh_dsa = slhdsa::SigningKey::init(&mut slots.2, &[7; SEED_SIZE]);
    let mut public =
        ([0; mldsa::PUBLIC_KEY_SIZE], [0; fndsa::PUBLIC_KEY_SIZE], [0; slhdsa::PUBLIC_KEY_SIZE]);
    ml_dsa.public_key(&mut public.0).unwrap();
    fn_dsa.public_key(&mut public.1).unwrap();
    slh_dsa.public_key(&mut public.2).unwrap();
    let keys = KeySet {
        id: table.measure("key_id", || key_id(&public.0, &public.1, &public.2)),
        validity: Validity::ALWAYS,
        ml_dsa: mldsa::VerifyingKey::decode(&public.0),
        fn_dsa: fndsa::VerifyingKey::decode(&public.1).unwrap(),
        slh_dsa: slhdsa::VerifyingKey::decode(&public.2),
    };
    let window = Window {
        deployment: batch.deployment,
        keys: keys.id,
        sequence: 0,
        time_ms: 0,
        count: MAX_BATCHES as u16,
        previous: [0; 32],
        root,
    };
    let mut made =
        ([0; mldsa::SIGNATURE_SIZE], [0; fndsa::SIGNATURE_SIZE], [0; slhdsa::SIGNATURE_SIZE]);
    window.sign_deterministic(ml_dsa, &mut made.0).unwrap();
    window.sign_deterministic(fn_dsa, &mut made.1).unwrap();
    window.sign_deterministic(slh_dsa, &mut made.2).unwrap();
    let signatures = Signatures { ml_dsa: &made.0, fn_dsa: &made.1, slh_dsa: &made.2 };
    let (index, batch_index) = (21, 77);
    let receipt =
        Receipt { leaf, index, path, batch, batch_index, window_path, window, signatures };
    let mut bytes = [0; Receipt::MAX_SIZE];
    table.measure("Receipt::encode", || receipt.encode(&mut bytes)).unwrap();
    table.measure("Receipt::decode_exact", || Receipt::decode_exact(&bytes).map(|_| ())).unwrap();
    table.assert_below_limit();

    let mut table = Table::new("verification: no limit");
    table.measure("Receipt::verify", || receipt.verify(&keys).map(|_| ())).unwrap();
    let mut buffer: StreamBuffer = [0; size_of::<StreamBuffer>()];
    let mut verifier = StreamVerifier::new(&keys, &mut buffer);
    table.measure("StreamVerifier::push", || verifier.push(&bytes)).unwrap();
    table.measure("StreamVerifier::finish", || verifier.finish().map(|_| ())).unwrap();
}

/// The kinds that are held as bytes, and ML-KEM.
fn bytes() {
    let mut table = Table::new("keys held as bytes: no limit");
    material::<mldsa::SeedKey>(&mut table, &mut &mut *Box::leak(Box::new(None)));
    material::<fndsa::SigningKey>(&mut table, &mut ());
    material::<slhdsa::SigningKey>(&mut table, &mut ());
    material::<mlkem::DecapsulationKey>(&mut table, &mut ());

    let mut table = Table::new("ML-KEM-768: no limit");
    let key = zeroed::<mlkem::DecapsulationKey>();
    table.measure("DecapsulationKey::derive", || key.derive(&[5; kem::SEED_SIZE]));
    let mut public = [0; kem::ENCAPSULATION_KEY_SIZE];
    key.encapsulation_key(&mut public);
    let decode = || mlkem::EncapsulationKey::decode(&public);
    let encapsulate = table.measure("EncapsulationKey::decode", decode).unwrap();
    let (mut ciphertext, mut secret) = ([0; kem::CIPHERTEXT_SIZE], [0; kem::SECRET_SIZE]);
    let rng = &mut ChaCha20Rng::from_seed([6; 32]);
    table.measure("Encapsulate::encapsulate", || {
        encapsulate.encapsulate(rng, &mut ciphertext, &mut secret);
    });
    let sent = secret;
    let decapsulate = || key.decapsulate(&ciphertext, &mut secret);
    table.measure("Decapsulate::decapsulate", decapsulate).unwrap();
    assert_eq!(secret, sent);

    let mut table = Table::new("ML-KEM-768, libcrux: no limit");
    let pair = table.measure("generate_key_pair", || mlkem768::generate_key_pair([5; 64]));
    assert_eq!(*pair.pk(), public);
    table.measure("encapsulate", || mlkem768::encapsulate(pair.public_key(), [6; 32]));
    let decapsulate = || mlkem768::decapsulate(pair.private_key(), &ciphertext.into());
    assert_eq!(table.measure("decapsulate", decapsulate), sent);
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
            kinds::<Q54>(k).assert_below_limit();
            kinds::<Q81>(k).assert_below_limit();
            kinds::<Q135>(k).assert_below_limit();
        }
        attest();
        bytes();
    });
}

/// What verification of a whole receipt may take, keys and stack: 192 KiB with core's own ML-DSA, 72
/// with libcrux's. The receipt lies where its caller has it.
const VERIFY_LIMITS: [usize; 2] = [192 << 10, 72 << 10];

/// ML-DSA-65 by libcrux, whose public key is its encoding.
struct Libcrux(libcrux::MLDSA65VerificationKey);

impl Verify for Libcrux {
    const FAMILY: Family = Family::MlDsa65;

    fn verify(&self, context: Domain, message: &[u8], signature: &[u8]) -> attest::Result<()> {
        let wrong = Error::WrongSignature(Self::FAMILY);
        let signature = libcrux::MLDSA65Signature::new(signature.try_into().map_err(|_| wrong)?);
        let context = context.as_bytes();
        libcrux::verify(&self.0, message, context, &signature).map_err(|_| wrong)
    }
}

const CONTEXT: Domain = Domain::new("symbolon/stack");

/// The family's key and a signature of it.
fn signed<S: Sign, const KEY: usize>(table: &mut Table, key: &S) -> ([u8; KEY], Vec<u8>) {
    let mut public = [0; KEY];
    table.measure("Sign::public_key", || key.public_key(&mut public)).unwrap();
    let mut signature = vec![0; S::FAMILY.signature_size()];
    let rng = &mut ChaCha20Rng::from_seed([6; 32]);
    table.measure("Sign::sign", || key.sign(CONTEXT, b"message", rng, &mut signature)).unwrap();
    (public, signature)
}

/// Stack of signing and of verifying, each family by itself; then what a verifier of receipts needs
/// for its keys and for the deepest stack, since it checks one signature after the other. Making keys
/// ready is not part of it, and where a receipt comes in pieces, neither is the buffer for the largest
/// signature.
fn families() {
    fn verify<V: Verify>(table: &mut Table, key: &V, signature: &[u8]) -> (usize, usize) {
        table.measure("Verify::verify", || key.verify(CONTEXT, b"message", signature)).unwrap();
        (size_of::<V>(), table.0.last().unwrap().1)
    }
    let mut table = Table::new("ML-DSA-65, ml-dsa: no limit");
    let slot = Box::leak(Box::new(None));
    let key = table.measure("SigningKey::init", || mldsa::SigningKey::init(slot, &[5; 32]));
    let (public, signature) = signed(&mut table, key);
    let key = table.measure("VerifyingKey::decode", || mldsa::VerifyingKey::decode(&public));
    let plain = verify(&mut table, &key, &signature);

    let mut table = Table::new("ML-DSA-65, libcrux: no limit");
    let pair = table.measure("generate_key_pair", || libcrux::generate_key_pair([5; 32]));
    assert_eq!(pair.verification_key.as_ref(), &public);
    let sign = || libcrux::sign(&pair.signing_key, b"message", CONTEXT.as_bytes(), [6; 32]);
    table.measure("sign", sign).unwrap();
    let key = Libcrux(pair.verification_key);
    let portable = libcrux::MLDSA65Signature::new(signature[..].try_into().unwrap());
    table
        .measure("portable::verify", || {
            libcrux::portable::verify(&key.0, b"message", CONTEXT.as_bytes(), &portable)
        })
        .unwrap();
    let fast = verify(&mut table, &key, &signature);

    let mut table = Table::new("FN-DSA-512 (draft): no limit");
    let mut slot = None;
    let key = table.measure("SigningKey::init", || fndsa::SigningKey::init(&mut slot, &[5; 32]));
    let (public, signature) = signed(&mut table, key);
    let key = table.measure("VerifyingKey::decode", || fndsa::VerifyingKey::decode(&public));
    let falcon = verify(&mut table, &key.unwrap(), &signature);

    let mut table = Table::new("SLH-DSA-SHA2-128f: no limit");
    let mut slot = None;
    let key = table.measure("SigningKey::init", || slhdsa::SigningKey::init(&mut slot, &[5; 32]));
    let (public, signature) = signed(&mut table, key);
    let key = table.measure("VerifyingKey::decode", || slhdsa::VerifyingKey::decode(&public));
    let hashes = verify(&mut table, &key, &signature);

    println!("\na receipt's verification: bytes of keys + stack, and of the largest signature");
    for (name, ml_dsa, limit) in
        [("ml-dsa", plain, VERIFY_LIMITS[0]), ("libcrux", fast, VERIFY_LIMITS[1])]
    {
        let all = [ml_dsa, falcon, hashes];
        let keys: usize = all.iter().map(|(key, _)| key).sum();
        let stack = all.iter().map(|&(_, stack)| stack).max().unwrap();
        let total = keys + stack;
        println!("  {total:>7}  with {name}: {keys} + {stack}, limit {limit}; {}", signature.len());
        assert!(total <= limit, "with {name}");
    }
}

/// Of an SLH-DSA key's secrets, of the seed an FN-DSA key was made of, of an ML-KEM key's and of what it
/// decapsulates, nothing stays. (Without wiping the seeds do; `slh-dsa` itself copies no key to the stack, and should go on so.)
#[test]
#[cfg_attr(debug_assertions, ignore = "frames are those of a release build: cargo xtask stack")]
fn nothing_of_a_signing_key_stays_on_the_stack() {
    on_ample_stack(|| {
        // Wherever they lie, and in both byte orders, since SHA-256 reads its input big-endian.
        let pieces = |bytes: &[u8]| -> HashSet<u32> {
            let words = bytes.array_windows().map(|&word| u32::from_le_bytes(word));
            words.flat_map(|word| [word, word.swap_bytes()]).collect()
        };
        let seed: [u8; 32] = array::from_fn(|i| i as u8 ^ 0xa5);
        let part = |index: u8| hash(Domain::new("symbolon/slh-dsa-seeds/v1"), &[&seed, &[index]]);
        let mut secrets = pieces(&part(0)[..16]);
        secrets.extend(pieces(&part(1)[..16]));
        let (mut slot, mut signature) = (None, vec![0; slhdsa::SIGNATURE_SIZE]);
        let made = left_behind(&secrets, &mut || {
            slhdsa::SigningKey::init(&mut slot, &seed);
        });
        let key = slot.as_ref().unwrap();
        let signed = left_behind(&secrets, &mut || {
            key.sign_deterministic(CONTEXT, b"message", &mut signature).unwrap();
        });
        println!("SLH-DSA: {made} words after making a key, {signed} after signing");
        assert_eq!((made, signed), (0, 0));

        let mut slot = None;
        let made = left_behind(&pieces(&seed), &mut || {
            fndsa::SigningKey::init(&mut slot, &seed);
        });
        println!("FN-DSA: {made} words after making a key");
        assert_eq!(made, 0);

        let seed: [u8; kem::SEED_SIZE] = array::from_fn(|i| i as u8 ^ 0xa5);
        let mut key = mlkem::DecapsulationKey::ZERO;
        let made = left_behind(&pieces(&seed), &mut || key.derive(&seed));
        let mut public = [0; kem::ENCAPSULATION_KEY_SIZE];
        key.encapsulation_key(&mut public);
        let encapsulate = mlkem::EncapsulationKey::decode(&public).unwrap();
        let (mut ciphertext, mut secret) = ([0; kem::CIPHERTEXT_SIZE], [0; kem::SECRET_SIZE]);
        let rng = || ChaCha20Rng::from_seed([6; 32]);
        encapsulate.encapsulate(&mut rng(), &mut ciphertext, &mut secret);
        let mut message = [0; 32];
        rng().fill_bytes(&mut message);
        let secrets: HashSet<u32> =
            [&seed[32..], &secret, &message].into_iter().flat_map(pieces).collect();
        let sent = left_behind(&secrets, &mut || {
            encapsulate.encapsulate(&mut rng(), &mut ciphertext, &mut secret);
        });
        let received = left_behind(&secrets, &mut || {
            key.decapsulate(&ciphertext, &mut secret).unwrap();
        });
        println!("ML-KEM: {made} words after making a key, {sent} sending, {received} receiving");
        assert_eq!((made, sent, received), (0, 0, 0));
    });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "frames are those of a release build: cargo xtask stack")]
fn verification_of_a_receipt_fits() {
    on_ample_stack(families);
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

/// Whether nothing but zeros is left of a key that was made and zeroised.
fn zeroised<M: Material>(maker: &mut M::Maker<'_>) -> bool {
    let mut value = bytemuck::zeroed_box::<M>();
    value.generate(maker, &mut ChaCha20Rng::from_seed([1; 32])).unwrap();
    let memory = Box::into_raw(value);
    // SAFETY: the value is zeroised, looked at as bytes, which were initialised, padding (zeroed when
    // it was made) included, and dropped once.
    unsafe {
        (*memory).zeroize();
        let bytes = memory.cast::<u8>();
        let is_zero = (0..size_of::<M>()).all(|i| bytes.add(i).read_volatile() == 0);
        drop(Box::from_raw(memory));
        is_zero
    }
}

#[test]
fn nothing_is_left_of_what_a_pool_wipes() {
    assert!(zeroised::<mldsa::SeedKey>(&mut &mut *Box::new(None)));
    assert!(zeroised::<fndsa::SigningKey>(&mut ()));
    assert!(zeroised::<slhdsa::SigningKey>(&mut ()));
    assert!(zeroised::<mlkem::DecapsulationKey>(&mut ()));
    for k in available() {
        let (key, scratch) = (zeroed(), zeroed());
        generate::<Q54>(k, &[7; 32], zeroed(), key, scratch);
        assert!(zeroised::<Zero<Q54>>(&mut ZeroMaker { kernels: k, key, scratch }));
        let layout = Layout::D128;
        let maker = &mut BlindMaker { kernels: k, key, layout, scratch };
        assert!(zeroised::<SeededBlind<Q54>>(maker));
        assert!(zeroised::<KeyPair<Q54>>(&mut KeyPairMaker { kernels: k, scratch }));
        let (keygen, rotations) = (zeroed(), &[Rotation::Rows(1), Rotation::Swap]);
        let maker = &mut KeySetMaker { kernels: k, scratch, keygen, rotations };
        assert!(zeroised::<bfv::KeySet<Q54, 2>>(maker));
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
