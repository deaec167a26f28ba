//! Canonical, versioned bytes: one encoding for each value, and nothing else decodes.
//!
//! Every object is an 8-byte header and its body, of a fixed size known at compile time:
//!
//! | byte | header |
//! |---|---|
//! | 0..4 | `SYMB` |
//! | 4 | format version, [`VERSION`] |
//! | 5 | kind: 1 public key, 2 ciphertext, 3 seeded ciphertext, 4 folded batch |
//! | 6 | parameter set: 2 Q54, 3 Q81 |
//! | 7 | layout of a folded batch: 0, 1, 2 for 128, 256, 512 dimensions; else 0 |
//!
//! Limbs are packed: word i occupies bits 27 i .. 27 i + 27 of a little-endian bit stream, 13,824
//! bytes a limb, in evaluation form and transform order ([`crate::kernel::contract`]). A word that is
//! not below its prime is refused.
//!
//! | kind | body | Q54 | Q81 | Q135 |
//! |---|---|---|---|---|
//! | 1 public key | 2^32 p0 (the multiplicand), 32-byte seed of p1 | 27,688 | 41,512 | 138,280 |
//! | 2 ciphertext | c0, c1 | 55,304 | 82,952 | 276,488 |
//! | 3 seeded ciphertext | c0, 32-byte seed of c1 | 27,688 | 41,512 | 138,280 |
//! | 4 folded batch | 32 sums a limb (unused ones zero), c1 | 27,872 | 41,804 | |
//! | 5 relinearisation key | b of each row, 32-byte seed of all a | 82,984 | 165,928 | 829,480 |
//! | 6 Galois key | g, 32 bits little-endian; b of each row, 32-byte seed of all a | 82,988 | 165,932 | 829,484 |
//!
//! Rows are as key switching takes them: limbs of Q and of the special prime, times 2^32, those of Q
//! divided by the special prime.
//!
//! **Stability.** Within one version of this format the bytes of a value never change; golden vectors
//! hold it to that. A new version is a new major version of the crate (before 1.0, a new minor one),
//! and decoders name the version they refused. The same rule holds for receipts and for the host's
//! store.

use crate::bfv::{
    Ciphertext, GaloisKey, PublicKey, RelinKey, SeededCiphertext, Switch, expand, params,
};
use crate::error::Error;
use crate::kernel::Kernels;
use crate::kernel::contract::{Limb, PACKED, WORD_BITS};
use crate::matching::{Folded, Layout};
use crate::ntt::{N, Plan};
use crate::rns::Rns;
use crate::zq::Prime;
use bytemuck::Zeroable;
use core::fmt;

/// The format's version.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"SYMB";
const HEADER: usize = 8;
const SUMS: usize = crate::matching::MAX_USERS * WORD_BITS / 8;

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WireError {
    /// Not the object's size, or (encoding) not the buffer's.
    Length {
        /// The size it has to have.
        expected: usize,
        /// The size it had.
        actual: usize,
    },
    /// Not one of these objects.
    Magic,
    /// A version this code does not know.
    Version(u8),
    /// Another kind of object.
    Kind(u8),
    /// Another parameter set.
    Parameters(u8),
    /// No automorphism: an even number, or one not below twice the ring's degree.
    Element(u32),
    /// No such layout, or a layout where none belongs.
    Layout(u8),
    /// A word that is not below its prime, or an unused sum that is not zero.
    Coefficient {
        /// Which limb, across all the object's polynomials.
        limb: u8,
        /// Which word of it.
        index: u16,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, actual } => {
                write!(f, "{actual} bytes where {expected} are needed")
            }
            Self::Magic => f.write_str("not a Symbolon object"),
            Self::Version(v) => write!(f, "format version {v} is not known"),
            Self::Kind(kind) => write!(f, "object of another kind ({kind})"),
            Self::Parameters(id) => write!(f, "object of another parameter set ({id})"),
            Self::Element(g) => write!(f, "X -> X^{g} is no automorphism"),
            Self::Layout(id) => write!(f, "no such layout ({id})"),
            Self::Coefficient { limb, index } => {
                write!(f, "coefficient {index} of limb {limb} is not canonical")
            }
        }
    }
}

impl core::error::Error for WireError {}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Length { .. } => Self::Length,
            _ => Self::Range,
        }
    }
}

/// Values with a canonical encoding.
pub trait Wire {
    /// Its size in bytes.
    const SIZE: usize;

    /// Writes the encoding.
    ///
    /// # Errors
    /// [`WireError::Length`] unless `out` is exactly [`Wire::SIZE`] long.
    fn encode(&self, k: &Kernels, out: &mut [u8]) -> Result<(), WireError>;

    /// Reads an encoding, in place.
    ///
    /// # Errors
    /// What is wrong with the bytes. `self` is zero then.
    fn decode(&mut self, k: &Kernels, bytes: &[u8]) -> Result<(), WireError>;
}

/// Writes fields back to back into a buffer whose size was checked.
struct Writer<'a>(&'a mut [u8]);

impl<'a> Writer<'a> {
    fn new<const L: usize>(
        out: &'a mut [u8],
        size: usize,
        kind: u8,
        layout: u8,
    ) -> Result<Self, WireError> {
        if out.len() != size {
            return Err(WireError::Length { expected: size, actual: out.len() });
        }
        let mut writer = Self(out);
        writer.bytes(&MAGIC);
        writer.bytes(&[VERSION, kind, params::id::<L>(), layout]);
        Ok(writer)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some((head, rest)) = core::mem::take(&mut self.0).split_at_mut_checked(bytes.len()) {
            head.copy_from_slice(bytes);
            self.0 = rest;
        }
    }

    /// Packs a limb.
    fn limb(&mut self, k: &Kernels, limb: &Limb) {
        if let Some((head, rest)) = core::mem::take(&mut self.0).split_first_chunk_mut() {
            (k.pack)(head, limb);
            self.0 = rest;
        }
    }

    /// Packs a few words; their number is a multiple of 32.
    fn words(&mut self, words: &[u32]) {
        let (mut pending, mut bits) = (0u64, 0);
        for &word in words {
            pending |= u64::from(word) << bits;
            bits += WORD_BITS;
            if bits >= 32 {
                self.bytes(&(pending as u32).to_le_bytes());
                pending >>= 32;
                bits -= 32;
            }
        }
    }
}

/// Takes fields from bytes whose size was checked.
struct Reader<'a> {
    rest: &'a [u8],
    limb: u8,
}

impl<'a> Reader<'a> {
    /// The reader and the layout byte.
    fn new<const L: usize>(
        bytes: &'a [u8],
        size: usize,
        kind: u8,
    ) -> Result<(Self, u8), WireError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(WireError::Length { expected: size, actual: bytes.len() });
        };
        let [m0, m1, m2, m3, version, found, parameters, layout] = *header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(WireError::Magic);
        }
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        if found != kind {
            return Err(WireError::Kind(found));
        }
        if parameters != params::id::<L>() {
            return Err(WireError::Parameters(parameters));
        }
        if bytes.len() != size {
            return Err(WireError::Length { expected: size, actual: bytes.len() });
        }
        Ok((Self { rest, limb: 0 }, layout))
    }

    fn word(&mut self) -> u32 {
        let Some((word, rest)) = self.rest.split_first_chunk() else { return 0 };
        self.rest = rest;
        u32::from_le_bytes(*word)
    }

    fn seed(&mut self, out: &mut [u8; 32]) {
        if let Some((seed, rest)) = self.rest.split_first_chunk() {
            *out = *seed;
            self.rest = rest;
        }
    }

    /// Unpacks a few words, each below the prime.
    fn words(&mut self, p: &Prime, out: &mut [u32]) -> Result<(), WireError> {
        let (mut pending, mut bits) = (0u64, 0);
        for (index, out) in out.iter_mut().enumerate() {
            if bits < WORD_BITS {
                if let Some((word, rest)) = self.rest.split_first_chunk() {
                    pending |= u64::from(u32::from_le_bytes(*word)) << bits;
                    self.rest = rest;
                }
                bits += 32;
            }
            let word = pending as u32 & ((1 << WORD_BITS) - 1);
            pending >>= WORD_BITS;
            bits -= WORD_BITS;
            if word >= p.q() {
                return Err(WireError::Coefficient { limb: self.limb, index: index as u16 });
            }
            *out = word;
        }
        self.limb += 1;
        Ok(())
    }

    /// Unpacks a polynomial's limbs, each word below its prime.
    fn poly<const L: usize>(&mut self, k: &Kernels, out: &mut [Limb; L]) -> Result<(), WireError> {
        self.limbs(k, out, &Rns::<L>::PLANS)
    }

    /// The same of any basis.
    fn limbs(&mut self, k: &Kernels, out: &mut [Limb], plans: &[&Plan]) -> Result<(), WireError> {
        for (limb, plan) in out.iter_mut().zip(plans) {
            if let Some((bytes, rest)) = self.rest.split_first_chunk() {
                self.rest = rest;
                if !(k.unpack)(limb, bytes, plan) {
                    let index = limb.iter().position(|&x| x >= plan.prime.q()).unwrap_or(0) as u16;
                    return Err(WireError::Coefficient { limb: self.limb, index });
                }
            }
            self.limb += 1;
        }
        Ok(())
    }
}

/// Leaves zero behind where `read` fails.
fn or_zero<T: Zeroable>(
    value: &mut T,
    read: impl FnOnce(&mut T) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let result = read(value);
    if result.is_err() {
        bytemuck::write_zeroes(value);
    }
    result
}

const fn no_layout(layout: u8) -> Result<(), WireError> {
    if layout == 0 { Ok(()) } else { Err(WireError::Layout(layout)) }
}

impl<const L: usize> Wire for Ciphertext<L> {
    const SIZE: usize = HEADER + 2 * L * PACKED;

    fn encode(&self, k: &Kernels, out: &mut [u8]) -> Result<(), WireError> {
        let mut writer = Writer::new::<L>(out, Self::SIZE, 2, 0)?;
        for limb in self.c0.limbs.iter().chain(&self.c1.limbs) {
            writer.limb(k, limb);
        }
        Ok(())
    }

    fn decode(&mut self, k: &Kernels, bytes: &[u8]) -> Result<(), WireError> {
        or_zero(self, |ciphertext| {
            let (mut reader, layout) = Reader::new::<L>(bytes, Self::SIZE, 2)?;
            no_layout(layout)?;
            reader.poly(k, &mut ciphertext.c0.limbs)?;
            reader.poly(k, &mut ciphertext.c1.limbs)
        })
    }
}

impl<const L: usize> Wire for SeededCiphertext<L> {
    const SIZE: usize = HEADER + L * PACKED + 32;

    fn encode(&self, k: &Kernels, out: &mut [u8]) -> Result<(), WireError> {
        let mut writer = Writer::new::<L>(out, Self::SIZE, 3, 0)?;
        for limb in &self.c0.limbs {
            writer.limb(k, limb);
        }
        writer.bytes(&self.seed);
        Ok(())
    }

    fn decode(&mut self, k: &Kernels, bytes: &[u8]) -> Result<(), WireError> {
        or_zero(self, |ciphertext| {
            let (mut reader, layout) = Reader::new::<L>(bytes, Self::SIZE, 3)?;
            no_layout(layout)?;
            reader.poly(k, &mut ciphertext.c0.limbs)?;
            reader.seed(&mut ciphertext.seed);
            Ok(())
        })
    }
}

impl<const L: usize> Wire for PublicKey<L> {
    const SIZE: usize = HEADER + L * PACKED + 32;

    fn encode(&self, k: &Kernels, out: &mut [u8]) -> Result<(), WireError> {
        let mut writer = Writer::new::<L>(out, Self::SIZE, 1, 0)?;
        for limb in &self.p0.limbs {
            writer.limb(k, limb);
        }
        writer.bytes(&self.seed);
        Ok(())
    }

    fn decode(&mut self, k: &Kernels, bytes: &[u8]) -> Result<(), WireError> {
        or_zero(self, |key| {
            let (mut reader, layout) = Reader::new::<L>(bytes, Self::SIZE, 1)?;
            no_layout(layout)?;
            reader.poly(k, &mut key.p0.limbs)?;
            reader.seed(&mut key.seed);
            key.expand(k);
            Ok(())
        })
    }
}

/// Bytes of a switching key's rows and seed.
const fn switch_size<const L: usize>() -> usize
where
    Rns<L>: Switch,
{
    // Only b of each pair.
    size_of::<<Rns<L> as Switch>::Key>() / size_of::<Limb>() / 2 * PACKED + 32
}

fn write_rows<const L: usize>(writer: &mut Writer<'_>, k: &Kernels, rows: &[Limb], seed: &[u8; 32])
where
    Rns<L>: Switch,
{
    let len = <Rns<L> as Switch>::PLANS.len();
    for limb in rows.chunks_exact(2 * len).flat_map(|row| row.iter().take(len)) {
        writer.limb(k, limb);
    }
    writer.bytes(seed);
}

fn read_rows<const L: usize>(
    reader: &mut Reader<'_>,
    k: &Kernels,
    rows: &mut [Limb],
    seed: &mut [u8; 32],
) -> Result<(), WireError>
where
    Rns<L>: Switch,
{
    let plans = <Rns<L> as Switch>::PLANS;
    for row in rows.chunks_exact_mut(2 * plans.len()) {
        reader.limbs(k, row, plans)?;
    }
    reader.seed(seed);
    expand::<L>(k, rows, seed);
    Ok(())
}

impl<const L: usize> Wire for RelinKey<L>
where
    Rns<L>: Switch,
{
    const SIZE: usize = HEADER + switch_size::<L>();

    fn encode(&self, k: &Kernels, out: &mut [u8]) -> Result<(), WireError> {
        let mut writer = Writer::new::<L>(out, Self::SIZE, 5, 0)?;
        write_rows::<L>(&mut writer, k, self.rows.as_ref(), &self.seed);
        Ok(())
    }

    fn decode(&mut self, k: &Kernels, bytes: &[u8]) -> Result<(), WireError> {
        or_zero(self, |key| {
            let (mut reader, layout) = Reader::new::<L>(bytes, Self::SIZE, 5)?;
            no_layout(layout)?;
            read_rows::<L>(&mut reader, k, key.rows.as_mut(), &mut key.seed)
        })
    }
}

impl<const L: usize> Wire for GaloisKey<L>
where
    Rns<L>: Switch,
{
    const SIZE: usize = HEADER + 4 + switch_size::<L>();

    fn encode(&self, k: &Kernels, out: &mut [u8]) -> Result<(), WireError> {
        let mut writer = Writer::new::<L>(out, Self::SIZE, 6, 0)?;
        writer.bytes(&self.element.to_le_bytes());
        write_rows::<L>(&mut writer, k, self.rows.as_ref(), &self.seed);
        Ok(())
    }

    fn decode(&mut self, k: &Kernels, bytes: &[u8]) -> Result<(), WireError> {
        or_zero(self, |key| {
            let (mut reader, layout) = Reader::new::<L>(bytes, Self::SIZE, 6)?;
            no_layout(layout)?;
            let element = reader.word();
            if element.is_multiple_of(2) || element >= (2 * Rns::<L>::PARTS * N) as u32 {
                return Err(WireError::Element(element));
            }
            key.set_element(element);
            read_rows::<L>(&mut reader, k, key.rows.as_mut(), &mut key.seed)
        })
    }
}

impl<const L: usize> Wire for Folded<L> {
    const SIZE: usize = HEADER + L * (SUMS + PACKED);

    fn encode(&self, k: &Kernels, out: &mut [u8]) -> Result<(), WireError> {
        let mut writer = Writer::new::<L>(out, Self::SIZE, 4, self.layout.id())?;
        for sums in &self.sums {
            writer.words(sums);
        }
        for limb in &self.c1.limbs {
            writer.limb(k, limb);
        }
        Ok(())
    }

    fn decode(&mut self, k: &Kernels, bytes: &[u8]) -> Result<(), WireError> {
        or_zero(self, |folded| {
            let (mut reader, layout) = Reader::new::<L>(bytes, Self::SIZE, 4)?;
            folded.layout = Layout::from_id(layout).ok_or(WireError::Layout(layout))?;
            for (limb, (sums, p)) in folded.sums.iter_mut().zip(&Rns::<L>::PRIMES).enumerate() {
                reader.words(p, sums)?;
                let unused = sums.iter().enumerate().skip(folded.layout.users());
                if let Some((index, _)) = unused.clone().find(|&(_, &x)| x != 0) {
                    return Err(WireError::Coefficient { limb: limb as u8, index: index as u16 });
                }
            }
            reader.poly(k, &mut folded.c1.limbs)
        })
    }
}
