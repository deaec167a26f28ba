//! What the processor can do, as values.
//!
//! Holding an [`Avx2`] *is* the proof that AVX2 instructions may run: the value cannot be made
//! without either detection (`symbolon-platform` does it) or an `unsafe` promise. Core itself never
//! looks at the processor. Firmware passes [`Scalar`], which needs no proof.

/// Portable code only. Always available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scalar;

macro_rules! capability {
    ($name:ident, $what:literal) => {
        #[doc = concat!("Proof that ", $what, " may be executed.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(());

        impl $name {
            /// Promises the capability.
            ///
            /// # Safety
            #[doc = concat!("The processor, and the operating system where it must save registers, support ", $what, ".")]
            #[must_use]
            #[allow(unsafe_code)]
            pub const unsafe fn assume() -> Self {
                Self(())
            }
        }
    };
}

capability!(Avx2, "AVX2");
capability!(
    Avx512,
    "AVX-512 F, DQ, BW, VL, VBMI, VBMI2, BITALG and VPOPCNTDQ (Ice Lake, Zen 4 and after)"
);
capability!(Neon, "Advanced SIMD (NEON)");

/// The best that was found, to choose kernels by: see [`crate::kernel::Kernels::select`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Portable code.
    Scalar(Scalar),
    /// x86-64 with AVX2.
    Avx2(Avx2),
    /// x86-64 with AVX-512.
    Avx512(Avx512),
    /// aarch64 with NEON.
    Neon(Neon),
}

impl Capability {
    /// A short lower-case name: `scalar`, `avx2`, `avx512`, `neon`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar(_) => "scalar",
            Self::Avx2(_) => "avx2",
            Self::Avx512(_) => "avx512",
            Self::Neon(_) => "neon",
        }
    }
}
