//! CPU detection: the one place where capabilities are minted.
#![allow(unsafe_code)]

use symbolon_core::cap::{self, Capability};

/// The best capability of this processor.
#[must_use]
pub fn detect() -> Capability {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
        {
            // SAFETY: all four were just detected; detection includes the registers' saving by the OS.
            return Capability::Avx512(unsafe { cap::Avx512::assume() });
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: just detected.
            return Capability::Avx2(unsafe { cap::Avx2::assume() });
        }
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        // SAFETY: just detected.
        return Capability::Neon(unsafe { cap::Neon::assume() });
    }
    Capability::Scalar(cap::Scalar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detection_names_this_architecture() {
        let allowed: &[&str] = match std::env::consts::ARCH {
            "x86_64" => &["scalar", "avx2", "avx512"],
            "aarch64" => &["neon"],
            _ => &["scalar"],
        };
        assert!(allowed.contains(&detect().name()));
    }
}
