//! Receipts come from strangers, one or many to a file: every input is decoded or refused, each
//! receipt has one encoding and ends by itself, and verification ends with a verdict, the same in a
//! stream however it is cut.
//!
//! The first 8 bytes of an input seed the cuts. A stand-in takes the place of each family, whose own
//! decoders are not this target's: a signature is right if it repeats one hash of key and message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_core::attest::{
    Domain, Error, Family, KeySet, Leaf, Receipt, Result, StreamBuffer, StreamVerifier, Validity,
    Verify, Window, hash,
};

struct StandIn<const ID: u8>;

impl<const ID: u8> Verify for StandIn<ID> {
    const FAMILY: Family = match Family::from_id(ID) {
        Some(family) => family,
        None => panic!(),
    };

    fn verify(&self, context: Domain, message: &[u8], signature: &[u8]) -> Result<()> {
        let digest = hash(context, &[&[ID], message]);
        if signature.len() == Self::FAMILY.signature_size()
            && signature.chunks(32).all(|chunk| chunk == &digest[..chunk.len()])
        {
            Ok(())
        } else {
            Err(Error::WrongSignature(Self::FAMILY))
        }
    }
}

type Keys = KeySet<
    StandIn<{ Family::MlDsa65.id() }>,
    StandIn<{ Family::FnDsa512Draft.id() }>,
    StandIn<{ Family::SlhDsaSha2_128f.id() }>,
>;

/// The keys that signed the seeds.
static KEYS: Keys = KeySet {
    id: [7; 16],
    validity: Validity { not_before_ms: 1, not_after_ms: u64::MAX - 1, revoked: false },
    ml_dsa: StandIn,
    fn_dsa: StandIn,
    slh_dsa: StandIn,
};

/// The verdict on `bytes`, which come in pieces of at most `longest` bytes.
fn stream(bytes: &[u8], mut seed: u64, longest: u64) -> Result<Leaf> {
    let mut buffer: StreamBuffer = [0x5a; size_of::<StreamBuffer>()];
    let mut verifier = StreamVerifier::new(&KEYS, &mut buffer);
    let mut rest = bytes;
    while !rest.is_empty() {
        // Knuth's MMIX generator; its high bits are good enough to cut with.
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let (piece, after) = rest.split_at(rest.len().min(((seed >> 33) % longest) as usize));
        if let Err(error) = verifier.push(piece) {
            assert_eq!(verifier.finish(), Err(error));
            return Err(error);
        }
        rest = after;
    }
    verifier.finish().map(|proven| proven.leaf)
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, data)) = data.split_first_chunk() else { return };
    let seed = u64::from_le_bytes(*seed);

    // The whole input as one receipt.
    let decoded = Receipt::decode_exact(data);
    let whole = decoded.and_then(|receipt| receipt.verify(&KEYS).copied());
    let one = stream(data, seed, u64::MAX);
    for longest in [3, 200, 20_000] {
        assert_eq!(stream(data, seed, longest), one);
    }
    match decoded {
        Ok(_) => assert_eq!(one, whole),
        // Of several faults, a stream may meet another one first.
        Err(_) => assert!(one.is_err()),
    }

    // Or as many.
    let mut rest = data;
    while let Ok((receipt, used)) = Receipt::decode(rest) {
        assert!((Receipt::MIN_SIZE..=Receipt::MAX_SIZE).contains(&used));
        let (bytes, after) = rest.split_at(used);
        let mut encoded = [0; Receipt::MAX_SIZE];
        assert_eq!(receipt.encode(&mut encoded), Ok(used));
        assert_eq!(encoded[..used], *bytes);
        // What follows makes no difference, and each byte is needed.
        assert_eq!(Receipt::decode_exact(bytes), Ok(receipt));
        assert_eq!(Receipt::decode(&bytes[..used - 1]), Err(Error::Truncated));
        if !after.is_empty() {
            assert_eq!(Receipt::decode_exact(rest), Err(Error::TrailingBytes));
        }
        if let Ok(leaf) = receipt.verify(&KEYS) {
            assert_eq!(*leaf, receipt.leaf);
            assert_eq!(Window::decode(&receipt.window.encode()), Ok(receipt.window));
            let mut buffer: StreamBuffer = [0; size_of::<StreamBuffer>()];
            let mut verifier = StreamVerifier::new(&KEYS, &mut buffer);
            assert_eq!(verifier.push_some(rest), Ok(used));
            assert_eq!(verifier.finish().map(|proven| proven.leaf), Ok(*leaf));
        }
        rest = after;
    }
});
