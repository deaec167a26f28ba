//! Huge pages for large tables of the heap: who reads all over one waits for page tables as long as for memory.

use std::io;
use std::mem::MaybeUninit;

use crate::os;

/// Asks for huge pages under memory that holds nothing yet. They come where it is first written; its ends, which
/// fill none, stay in small ones. Less than one huge page is left as it is.
///
/// # Errors
/// The system's, where it has none or does not give them: which takes time, and nothing else.
pub fn prefer<T>(memory: &mut [MaybeUninit<T>]) -> io::Result<()> {
    match os::huge_page_size() {
        Some(size) if size <= size_of_val(memory) => os::prefer_huge(memory),
        Some(_) => Ok(()),
        None => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs;

    /// What the kernel has noted of the mapping that an address lies in.
    fn is_advised(address: usize) -> bool {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let holds = |line: &&str| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let range = range.map(|(a, b)| [a, b].map(|end| usize::from_str_radix(end, 16)));
            matches!(range, Some([Ok(start), Ok(end)]) if (start..end).contains(&address))
        };
        let mut lines = smaps.lines().skip_while(|line| !holds(line));
        let flags = lines.find(|line| line.starts_with("VmFlags:")).unwrap();
        flags.split(' ').any(|flag| flag == "hg")
    }

    #[test]
    fn the_kernel_notes_what_is_asked_of_a_large_table() {
        let Some(size) = os::huge_page_size() else { return };
        let mut large = Vec::<[u64; 8]>::with_capacity(4 * size / 64);
        let middle = large.as_ptr().addr() + 2 * size;
        assert!(!is_advised(middle));
        prefer(large.spare_capacity_mut()).unwrap();
        assert!(is_advised(middle));
        large.resize(4 * size / 64, [7; 8]);
        assert!(large.iter().all(|line| *line == [7; 8]));
        let mut small = Vec::<u8>::with_capacity(size - 1);
        prefer(small.spare_capacity_mut()).unwrap();
        assert!(!is_advised(small.as_ptr().addr() + size / 2));
        prefer(Vec::<()>::new().spare_capacity_mut()).unwrap();
    }
}
