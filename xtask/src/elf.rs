//! What a program for a microcontroller takes up, from the sections of its ELF file (32-bit, little
//! endian).

/// Sizes in bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Machine code.
    pub code: u64,
    /// Constants.
    pub constants: u64,
    /// What can be written, stacks not included.
    pub memory: u64,
}

impl Sizes {
    /// Adds up the sections that are loaded. `None` if the file is something else.
    pub fn of(file: &[u8]) -> Option<Self> {
        const WRITE: u32 = 1;
        const LOADED: u32 = 2;
        const EXECUTABLE: u32 = 4;
        let word = |at: usize| Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?));
        let half = |at: usize| Some(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?));
        if !file.starts_with(b"\x7fELF\x01\x01") {
            return None;
        }
        let (first, size, count) = (word(32)? as usize, half(46)? as usize, half(48)? as usize);
        let mut sizes = Self::default();
        for at in (0..count).map(|i| first + i * size) {
            let (flags, size) = (word(at + 8)?, word(at + 20)?);
            let sum = match flags & (WRITE | LOADED | EXECUTABLE) {
                flags if flags & LOADED == 0 => continue,
                flags if flags & EXECUTABLE != 0 => &mut sizes.code,
                flags if flags & WRITE != 0 => &mut sizes.memory,
                _ => &mut sizes.constants,
            };
            *sum += u64::from(size);
        }
        Some(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of these sections: flags and size.
    fn file(sections: &[(u32, u32)]) -> Vec<u8> {
        let mut file = vec![0; 52 + 40 * sections.len()];
        file[..6].copy_from_slice(b"\x7fELF\x01\x01");
        file[32] = 52;
        file[46] = 40;
        file[48] = sections.len() as u8;
        for (header, (flags, size)) in file[52..].chunks_exact_mut(40).zip(sections) {
            header[8..12].copy_from_slice(&flags.to_le_bytes());
            header[20..24].copy_from_slice(&size.to_le_bytes());
        }
        file
    }

    #[test]
    fn sections_are_added_up() {
        let sections = [(0, 1), (2, 10), (6, 100), (3, 1_000), (0x32, 20), (6, 200), (0x30, 7)];
        let want = Sizes { code: 300, constants: 30, memory: 1_000 };
        let file = file(&sections);
        assert_eq!(Sizes::of(&file), Some(want));
        assert_eq!(Sizes::of(&file[..file.len() - 1 - 40]), None, "cut off");
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(Sizes::of(b""), None);
        assert_eq!(Sizes::of(b"\x7fELF\x02\x01"), None, "64 bits");
        assert_eq!(Sizes::of(b"\x7fELF\x01\x01"), None, "a header cut off");
    }
}
