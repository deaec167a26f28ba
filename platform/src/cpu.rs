//! CPU detection: the one place where capabilities are minted.
#![allow(unsafe_code)]

use symbolon_core::cap::{self, Capability};

/// Every capability of this processor, portable code first, the fastest last.
#[must_use]
pub fn available() -> Vec<Capability> {
    let mut found = vec![Capability::Scalar(cap::Scalar)];
    #[cfg(target_arch = "x86_64")]
    {
        use std::is_x86_feature_detected as has;
        if has!("avx2") {
            // SAFETY: just detected.
            found.push(Capability::Avx2(unsafe { cap::Avx2::assume() }));
        }
        let base = has!("avx512f") && has!("avx512dq") && has!("avx512bw") && has!("avx512vl");
        let bytes = has!("avx512vbmi") && has!("avx512vbmi2");
        if base && bytes && has!("avx512bitalg") && has!("avx512vpopcntdq") {
            // SAFETY: just detected; detection includes the registers' saving by the OS.
            found.push(Capability::Avx512(unsafe { cap::Avx512::assume() }));
        }
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        // SAFETY: just detected.
        found.push(Capability::Neon(unsafe { cap::Neon::assume() }));
    }
    found
}

/// The fastest capability of this processor.
#[must_use]
pub fn detect() -> Capability {
    available().pop().unwrap_or(Capability::Scalar(cap::Scalar))
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
