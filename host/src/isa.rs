//! Which kernels run: the processor's fastest, or those that `SYMBOLON_ISA` names.

use crate::error::{Error, Kind, Result};
use std::env;
use std::ffi::OsStr;
use symbolon_core::kernel::Kernels;
use symbolon_platform::cpu;

/// The environment variable that forces kernels: `scalar`, `avx2`, `avx512` or `neon`.
pub const VARIABLE: &str = "SYMBOLON_ISA";

/// The kernels to use in this process.
///
/// Errors: `E-ARGUMENT` where the variable names something that this processor has not.
pub fn kernels() -> Result<&'static Kernels> {
    choose(env::var_os(VARIABLE).as_deref())
}

/// The processor's fastest: for hashes, which are the same with all.
pub fn fastest() -> &'static Kernels {
    Kernels::select(cpu::detect())
}

fn choose(forced: Option<&OsStr>) -> Result<&'static Kernels> {
    let available = cpu::available();
    let Some(name) = forced.filter(|name| !name.is_empty()) else {
        return Ok(fastest());
    };
    let chosen = available.iter().find(|capability| name == capability.name());
    chosen.map(|&capability| Kernels::select(capability)).ok_or_else(|| {
        let names: Vec<_> = available.iter().map(|capability| capability.name()).collect();
        let name = name.to_string_lossy();
        let message = format!("{VARIABLE}={name}: this processor runs {}", names.join(", "));
        Error::new(Kind::Argument, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_can_be_forced_by_name() {
        for capability in cpu::available() {
            let kernels = choose(Some(capability.name().as_ref())).unwrap();
            assert_eq!(kernels.isa(), capability.name());
        }
        let fastest = cpu::detect().name();
        assert_eq!(choose(None).unwrap().isa(), fastest);
        assert_eq!(choose(Some("".as_ref())).unwrap().isa(), fastest);
        let error = choose(Some("z80".as_ref())).unwrap_err();
        assert_eq!(error.kind(), Kind::Argument);
        assert!(error.to_string().contains("scalar"), "{error}");
    }
}
