//! For tests: searches this process's memory for what should not be there any more.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use symbolon_core::place;

/// One block, and what of the next one a pattern could reach into.
const BLOCK: usize = 1 << 20;
/// Every page starts at a multiple of this.
const STEP: u64 = 4096;
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How often the pattern stands in readable memory, outside the addresses in `skip`.
///
/// The pattern is given masked, each byte XORed with `mask`, which is not 0: so neither the caller nor
/// the search needs a copy that it would then find. A pattern across two mappings is not found.
///
/// # Errors
/// `/proc/self/maps` or `/proc/self/mem` cannot be read.
///
/// # Panics
/// If the pattern is empty or longer than a page.
pub fn count(masked: &[u8], mask: u8, skip: &[Range<usize>]) -> io::Result<usize> {
    assert!((1..=STEP as usize).contains(&masked.len()), "a pattern of 1 to 4096 bytes");
    // A search leaves its own buffer out, but would find that of another.
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let memory = File::open("/proc/self/mem")?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut buffer = vec![0; 2 * BLOCK];
    let own = buffer.as_ptr_range();
    let own = own.start.addr()..own.end.addr();
    let skips = |at: usize| own.contains(&at) || skip.iter().any(|range| range.contains(&at));

    let mut found = 0;
    for range in maps.lines().filter_map(readable) {
        let mut at = range.start;
        while at < range.end {
            let rest = usize::try_from(range.end - at).unwrap_or(usize::MAX);
            let window = &mut buffer[..rest.min(BLOCK + masked.len() - 1)];
            // Some mappings cannot be read though they say so, and others go away: page by page.
            let Ok(read @ 1..) = memory.read_at(window, at) else {
                at = (at / STEP + 1) * STEP;
                continue;
            };
            found += matches(&window[..read], masked, mask)
                .filter(|start| !skips(at as usize + start))
                .count();
            // In what is left of the window, no match fits.
            at += read.min(BLOCK) as u64;
        }
    }
    buffer.as_chunks_mut::<BLOCK>().0.iter_mut().for_each(place::wipe);
    Ok(found)
}

/// The addresses of a line of `/proc/self/maps`, if they can be read.
fn readable(line: &str) -> Option<Range<u64>> {
    let mut fields = line.split(' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    fields.next()?.starts_with('r').then_some(address(start)?..address(end)?)
}

fn matches(window: &[u8], masked: &[u8], mask: u8) -> impl Iterator<Item = usize> {
    let first = masked[0] ^ mask;
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + window[from..].iter().position(|byte| *byte == first)?;
            from = start + 1;
            let candidate = window.get(start..start + masked.len())?;
            if candidate.iter().zip(masked).all(|(byte, masked)| byte ^ mask == *masked) {
                return Some(start);
            }
        }
    })
}
