//! The kernels that this processor runs.

use symbolon_core::cap::{self, Capability, Scalar};
use symbolon_core::kernel::Kernels;

/// Portable ones first, the fastest last.
pub fn available() -> Vec<&'static Kernels> {
    let mut found = vec![Capability::Scalar(Scalar)];
    #[cfg(target_arch = "x86_64")]
    {
        use std::is_x86_feature_detected as has;
        if has!("avx2") {
            // SAFETY: detected.
            found.push(Capability::Avx2(unsafe { cap::Avx2::assume() }));
        }
        let base = has!("avx512f") && has!("avx512dq") && has!("avx512bw") && has!("avx512vl");
        let bytes = has!("avx512vbmi") && has!("avx512vbmi2");
        if base && bytes && has!("avx512bitalg") && has!("avx512vpopcntdq") {
            // SAFETY: detected.
            found.push(Capability::Avx512(unsafe { cap::Avx512::assume() }));
        }
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: every target of this architecture that has std has NEON.
    found.push(Capability::Neon(unsafe { cap::Neon::assume() }));
    found.into_iter().map(Kernels::select).collect()
}
