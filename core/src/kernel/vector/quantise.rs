//! Embeddings to integers. The portable code, whose partial sums fix the order of additions, compiled
//! with the processor's instructions.

// The type parameter only makes the table's signatures alike.
#![allow(clippy::extra_unused_type_parameters)]

use super::super::scalar;

macro_rules! both {
    ($($norm:ident $round:ident $type:ty),*) => {$(
        #[inline(always)]
        pub(crate) fn $norm<V>(vector: &[$type]) -> f64 {
            scalar::square_norm(vector)
        }

        #[inline(always)]
        pub(crate) fn $round<V>(out: &mut [i16], vector: &[$type], factor: f64) {
            scalar::scale_round(out, vector, factor);
        }
    )*};
}

both!(norm_f32 round_f32 f32, norm_f64 round_f64 f64);
