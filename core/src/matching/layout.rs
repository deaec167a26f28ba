//! Who sits where: users in blocks of a plaintext.

use crate::bfv::Plaintext;
use crate::ct;
use crate::error::Error;
use crate::kernel::Kernels;
use crate::ntt::{LOG_N, N};
use crate::poly::{Coeff, Mont, Poly};
use crate::zt::{self, T};
use bytemuck::Zeroable;
use core::array;
use zeroize::Zeroize;

/// The most users a ciphertext holds.
pub const MAX_USERS: usize = 32;

/// The largest dimension of a vector.
pub const MAX_DIMS: usize = 512;

/// The largest sum of squares of a quantised vector: two such have |score| <= 32767 < t/2.
pub const MAX_NORM: u32 = 32_767;

/// A deployment's dimension, padded: users times dimension is N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Zeroable)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Layout {
    /// 32 users of up to 128 dimensions.
    D128 = 0,
    /// 16 users of up to 256 dimensions.
    D256 = 1,
    /// 8 users of up to 512 dimensions.
    D512 = 2,
}

impl Layout {
    /// The smallest layout for vectors of `dims` components.
    ///
    /// # Errors
    /// [`Error::Dimension`] for 0 or more than 512.
    pub const fn for_dims(dims: usize) -> Result<Self, Error> {
        match dims {
            1..=128 => Ok(Self::D128),
            129..=256 => Ok(Self::D256),
            257..=MAX_DIMS => Ok(Self::D512),
            _ => Err(Error::Dimension),
        }
    }

    /// The layout with this wire id (its discriminant).
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::D128),
            1 => Some(Self::D256),
            2 => Some(Self::D512),
            _ => None,
        }
    }

    /// The wire id.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Components of a padded vector: 128, 256 or 512.
    #[must_use]
    pub const fn dims(self) -> usize {
        128 << self.id()
    }

    /// Users in a ciphertext: 32, 16 or 8.
    #[must_use]
    pub const fn users(self) -> usize {
        N / self.dims()
    }

    /// Layers of the transform that split the ring into one block a user.
    pub(crate) const fn layers(self) -> usize {
        self.users().ilog2() as usize
    }

    /// The lanes of a full batch: one bit a user.
    #[must_use]
    pub const fn all_lanes(self) -> u32 {
        u32::MAX >> (MAX_USERS - self.users())
    }

    /// Writes vectors into their blocks; a missing or empty one leaves its block zero.
    fn place<'a>(
        self,
        vectors: impl IntoIterator<Item = &'a [i16]>,
        reversed: bool,
        out: &mut Plaintext,
    ) -> Result<(), Error> {
        let dims = self.dims();
        let mut blocks = out.coeffs.as_flattened_mut().chunks_exact_mut(dims);
        for vector in vectors {
            let block = blocks.next().ok_or(Error::Length)?;
            if vector.is_empty() {
                block.fill(0);
                continue;
            }
            if vector.len() != dims {
                return Err(Error::Length);
            }
            // Components of a vector that is short enough are at most 181; if all are below 256, the
            // sum fits.
            let bits = vector.iter().fold(0, |bits, &x| bits | (x ^ (x >> 15)));
            let norm = vector
                .iter()
                .fold(0i32, |norm, &x| norm.wrapping_add(i32::from(x).wrapping_mul(i32::from(x))));
            // Public: whether the input is valid, which the caller is told.
            if ct::public((bits > 255) | (norm as u32 > MAX_NORM)) {
                return Err(Error::Range);
            }
            let canonical = |x: i16| (i32::from(x) + (T as i32 & (i32::from(x) >> 31))) as u32;
            if reversed {
                let eights = block.as_chunks_mut::<8>().0.iter_mut().rev();
                for (slots, x) in eights.zip(vector.as_chunks::<8>().0) {
                    *slots = array::from_fn(|i| canonical(x[7 - i]));
                }
            } else {
                for (slot, &x) in block.iter_mut().zip(vector) {
                    *slot = canonical(x);
                }
            }
        }
        blocks.for_each(|block| block.fill(0));
        Ok(())
    }

    /// Encodes quantised probes, each of [`Layout::dims`] components, in lane order. An empty slice
    /// leaves its lane out.
    ///
    /// # Errors
    /// [`Error::Length`] for too many vectors or one of another length, [`Error::Range`] for one
    /// whose sum of squares exceeds [`MAX_NORM`]. `out` then holds parts of both the old and the new.
    pub fn encode_probes<'a>(
        self,
        k: &Kernels,
        probes: impl IntoIterator<Item = &'a [i16]>,
        out: &mut Plaintext,
    ) -> Result<(), Error> {
        self.place(probes, false, out)?;
        (k.plain_inverse)(out.coeffs.as_flattened_mut(), self.layers());
        Ok(())
    }

    /// Encodes quantised templates as the multiplicand of [`super::fold()`]. `plain` is working space
    /// and holds zero afterwards.
    ///
    /// # Errors
    /// As [`Layout::encode_probes`].
    pub fn encode_templates<'a, 'b, const L: usize>(
        self,
        k: &Kernels,
        templates: impl IntoIterator<Item = &'a [i16]>,
        plain: &mut Plaintext,
        out: &'b mut Poly<L, Coeff>,
    ) -> Result<&'b mut Poly<L, Mont>, Error> {
        // Reversed, sum t_i X^(d-1-i), then times X^-(d-1): the score moves to coefficient 0 of its
        // block. In the whole ring that is a rotation, X^N = -1 turning what wraps.
        self.place(templates, true, plain)?;
        let coeffs = plain.coeffs.as_flattened_mut();
        (k.plain_inverse)(coeffs, self.layers());
        let shift = self.dims() - 1;
        coeffs.rotate_left(shift);
        for c in coeffs.iter_mut().rev().take(shift) {
            *c = zt::canonical(-(*c as i32));
        }
        let multiplicand = plain.to_multiplicand(k, out);
        plain.zeroize();
        Ok(multiplicand)
    }

    /// Encodes vectors slot by slot, for [`super::mask`]: probes and templates alike.
    ///
    /// # Errors
    /// As [`Layout::encode_probes`].
    pub fn encode_slots<'a>(
        self,
        k: &Kernels,
        vectors: impl IntoIterator<Item = &'a [i16]>,
        out: &mut Plaintext,
    ) -> Result<(), Error> {
        self.place(vectors, false, out)?;
        (k.plain_inverse)(out.coeffs.as_flattened_mut(), LOG_N);
        Ok(())
    }
}
