//! Quantisation of any bit patterns, in any number: refused for the right reason, with the output
//! untouched, or within a half of the definition and short enough that no score wraps.
//!
//! An input is layout and width (1 byte), the number of components (2 bytes), and components, which
//! are repeated as often as it takes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_core::cap::Scalar;
use symbolon_core::error::Error;
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::layout::MAX_NORM;
use symbolon_core::matching::{Layout, MAX_DIMS, Quantisable, quantise};

const UNTOUCHED: i16 = i16::MIN;

fn check<F: Quantisable>(layout: Layout, vector: &[F]) {
    let k = Kernels::scalar(Scalar);
    let values: Vec<f64> = vector.iter().map(|x| x.to_f64()).collect();
    let dims = layout.dims();
    let expected = if values.is_empty() || values.len() > dims {
        Err(Error::Dimension)
    } else if let Some(i) = values.iter().position(|x| !x.is_finite()) {
        Err(Error::NotFinite(i as u16))
    } else if values.iter().all(|&x| x == 0.0) {
        Err(Error::ZeroVector)
    } else {
        Ok(())
    };
    let mut out = vec![UNTOUCHED; dims + 1];
    for wrong in [0, dims - 1, dims + 1] {
        let refusal =
            if expected == Err(Error::Dimension) { Error::Dimension } else { Error::Length };
        assert_eq!(quantise(k, layout, vector, &mut out[..wrong]), Err(refusal));
    }
    let result = quantise(k, layout, vector, &mut out[..dims]);
    assert_eq!(result, expected);
    assert_eq!(out.pop(), Some(UNTOUCHED));
    if result.is_err() {
        assert!(out.iter().all(|&x| x == UNTOUCHED));
        return;
    }

    let norm: u32 = out.iter().map(|&x| u32::from(x.unsigned_abs()).pow(2)).sum();
    assert!(norm <= MAX_NORM);
    let largest = values.iter().fold(0f64, |largest, x| largest.max(x.abs()));
    let length = values.iter().map(|x| (x / largest).powi(2)).sum::<f64>().sqrt();
    let (filled, padding) = out.split_at(values.len());
    for (&integer, x) in filled.iter().zip(&values) {
        let exact = x / largest / length * f64::from(layout.scale());
        assert!((f64::from(integer) - exact).abs() < 0.5 + 1e-9);
    }
    assert!(padding.iter().all(|&x| x == 0));
}

fuzz_target!(|data: &[u8]| {
    let [choice, low, high, components @ ..] = data else { return };
    let Some(layout) = Layout::from_id(choice % 3) else { return };
    let count = usize::from(u16::from_le_bytes([*low, *high])) % (MAX_DIMS + 2);
    if choice / 3 % 2 == 0 {
        let (components, _) = components.as_chunks();
        let components = components.iter().map(|&bytes| f32::from_le_bytes(bytes));
        check(layout, &components.cycle().take(count).collect::<Vec<_>>());
    } else {
        let (components, _) = components.as_chunks();
        let components = components.iter().map(|&bytes| f64::from_le_bytes(bytes));
        check(layout, &components.cycle().take(count).collect::<Vec<_>>());
    }
});
