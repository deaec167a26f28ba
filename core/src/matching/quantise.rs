//! From an embedding to small integers whose inner products cannot wrap.

use super::layout::{Layout, MAX_NORM};
use crate::error::Error;

/// A component of an embedding.
pub trait Quantisable: Copy {
    /// Its value as a double.
    fn to_f64(self) -> f64;
}

impl Quantisable for f32 {
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Quantisable for f64 {
    fn to_f64(self) -> f64 {
        self
    }
}

impl Layout {
    /// The scale S: a unit vector becomes round(S x).
    ///
    /// S = floor(sqrt(32767) - sqrt(d)/2): rounding moves each of d components by at most 1/2, the
    /// vector by at most sqrt(d)/2, so the sum of squares stays at or below 32767 for every input.
    #[must_use]
    pub const fn scale(self) -> u32 {
        let scale = match self {
            Self::D128 => 175,
            Self::D256 => 173,
            Self::D512 => 169,
        };
        // (S + sqrt(d)/2)^2 <= 32767, in integers: S^2 + d/4 + S sqrt(d) with sqrt(d) rounded up.
        let (s, d) = (scale as usize, self.dims());
        let root = d.isqrt() + (d.isqrt().pow(2) < d) as usize;
        assert!(s * s + d / 4 + s * root <= MAX_NORM as usize);
        scale
    }
}

/// Normalises a vector to length one, scales by [`Layout::scale`], rounds to the nearest integer
/// (halves away from zero) and pads with zeros to [`Layout::dims`]. Done in double precision; the
/// rounding moves a cosine by about 0.0023 (one sigma) at 128 dimensions.
///
/// # Errors
/// [`Error::Dimension`] if `vector` is empty or longer than the layout's dimension,
/// [`Error::Length`] if `out` is not exactly that long, [`Error::NotFinite`] for a NaN or infinity,
/// [`Error::ZeroVector`] where all components are zero. `out` is unchanged then.
pub fn quantise<F: Quantisable>(
    layout: Layout,
    vector: &[F],
    out: &mut [i16],
) -> Result<(), Error> {
    if vector.is_empty() || vector.len() > layout.dims() {
        return Err(Error::Dimension);
    }
    if out.len() != layout.dims() {
        return Err(Error::Length);
    }
    let mut norm = square_norm(vector, 1.0);
    let mut unit = 1.0;
    // Out of the ordinary: not finite, zero, or squares that over- or underflow.
    if !(1e-200..1e200).contains(&norm) {
        let mut largest = 0f64;
        for (i, x) in vector.iter().enumerate() {
            let x = x.to_f64();
            if !x.is_finite() {
                return Err(Error::NotFinite(i as u16));
            }
            largest = largest.max(x.abs());
        }
        if largest == 0.0 {
            return Err(Error::ZeroVector);
        }
        unit = largest;
        norm = square_norm(vector, unit);
    }
    let factor = f64::from(layout.scale()) / libm::sqrt(norm);
    let (filled, padding) = out.split_at_mut_checked(vector.len()).ok_or(Error::Length)?;
    if unit == 1.0 {
        for (out, x) in filled.iter_mut().zip(vector) {
            *out = round(x.to_f64() * factor);
        }
    } else {
        for (out, x) in filled.iter_mut().zip(vector) {
            *out = round(x.to_f64() / unit * factor);
        }
    }
    padding.fill(0);
    Ok(())
}

/// The sum of (x / unit)^2, in eight partial sums: the same on every processor, and vectors do it.
fn square_norm<F: Quantisable>(vector: &[F], unit: f64) -> f64 {
    let mut sums = [0f64; 8];
    let (eights, rest) = vector.as_chunks::<8>();
    if unit == 1.0 {
        for x in eights {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum += x.to_f64() * x.to_f64();
            }
        }
    } else {
        for x in eights {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum += (x.to_f64() / unit) * (x.to_f64() / unit);
            }
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += (x.to_f64() / unit) * (x.to_f64() / unit);
    }
    sums.iter().sum()
}

/// The nearest integer of |x| < 2^15, ties to even: below 2^52 a double's last bit counts halves no
/// more.
#[inline(always)]
const fn round(x: f64) -> i16 {
    const SHIFT: f64 = 1.5 * (1u64 << 52) as f64;
    (x + SHIFT).to_bits() as i16
}
