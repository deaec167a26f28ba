//! x86-64, as `objdump -M intel` writes it.

use anyhow::{Result, bail};

use super::listing::{
    Condition, Instruction, Memory, Modifier, Operand, Register, Shift, Test, number, split,
};
use super::machine::Value::{self, Known, Public, Secret};
use super::machine::{Flags, Machine, Next, cut, extend, flags_of, join, map, wide_product};

/// The registers of the first six arguments: rdi, rsi, rdx, rcx, r8, r9.
pub const ARGUMENTS: [u8; 6] = [7, 6, 2, 1, 8, 9];
pub const STACK_POINTER: u8 = 4;
/// A call has pushed the return address.
pub const STACK_ALIGNMENT: u64 = 8;

/// What a called function may change: all but rbx, rsp, rbp, r12 to r15.
pub const VOLATILE: [u8; 9] = [0, 1, 2, 6, 7, 8, 9, 10, 11];

const RAX: u8 = 0;
const RDX: u8 = 2;
const RBP: u8 = 5;
const CL: Register = Register { index: 1, bits: 8, high: false };

const NAMES: [[&str; 8]; 3] = [
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"],
    ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"],
    ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"],
];
const LOW_BYTES: [&str; 8] = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"];
const HIGH_BYTES: [&str; 4] = ["ah", "ch", "dh", "bh"];

fn register(text: &str) -> Option<Register> {
    let at = |names: &[&str]| names.iter().position(|name| *name == text).map(|at| at as u8);
    for (names, bits) in NAMES.iter().zip([64, 32, 16]) {
        if let Some(index) = at(names) {
            return Some(Register { index, bits, high: false });
        }
    }
    if let Some(index) = at(&LOW_BYTES) {
        return Some(Register { index, bits: 8, high: false });
    }
    if let Some(index) = at(&HIGH_BYTES) {
        return Some(Register { index, bits: 8, high: true });
    }
    let rest = text.strip_prefix('r')?;
    let digits = rest.trim_end_matches(['d', 'w', 'b']);
    let bits = match &rest[digits.len()..] {
        "" => 64,
        "d" => 32,
        "w" => 16,
        "b" => 8,
        _ => return None,
    };
    let index = digits.parse().ok().filter(|index| (8..16).contains(index))?;
    Some(Register { index, bits, high: false })
}

fn vector(text: &str) -> Option<u32> {
    let (kind, digits) = text.split_at(text.find(|c: char| c.is_ascii_digit())?);
    digits.parse::<u32>().ok()?;
    match kind {
        "xmm" => Some(16),
        "ymm" => Some(32),
        "zmm" => Some(64),
        "k" => Some(8),
        _ => None,
    }
}

pub fn decode(name: &str, operands: &str, comment: &str) -> (String, Vec<Operand>) {
    let mut name = name;
    let mut operands = operands;
    if operands.contains("nop") {
        // Prefixed to fill a line: `data16 cs nop WORD PTR [rax+rax*1+0x0]`.
        return ("nop".to_owned(), Vec::new());
    }
    // These change nothing here.
    while ["notrack", "bnd", "repz", "cs", "data16"].contains(&name) && !operands.is_empty() {
        (name, operands) = operands.split_once(' ').unwrap_or((operands, ""));
        operands = operands.trim();
    }
    let jump = name.starts_with('j') || name == "call";
    let target = |text: &str| u64::from_str_radix(text, 16).ok().map(Operand::Number);
    let parse = |text: &str| {
        let known = if jump { target(text) } else { None };
        known.unwrap_or_else(|| operand(text, comment))
    };
    (name.to_owned(), split(operands).into_iter().map(parse).collect())
}

fn operand(text: &str, comment: &str) -> Operand {
    // A mask or a broadcast.
    let text = text.split('{').next().unwrap_or_default();
    if let Some(bytes) = vector(text) {
        return Operand::Vector { bytes };
    }
    if let Some(register) = register(text) {
        return Operand::Register(register);
    }
    if let Some(number) = number(text) {
        return Operand::Number(number);
    }
    memory(text, comment).map_or(Operand::Other, Operand::Memory)
}

fn memory(text: &str, comment: &str) -> Option<Memory> {
    let (size, inner) = text.strip_suffix(']')?.split_once('[')?;
    let size = match size.split(' ').next().unwrap_or_default() {
        "BYTE" => 1,
        "WORD" => 2,
        "DWORD" => 4,
        "QWORD" => 8,
        "XMMWORD" => 16,
        "YMMWORD" => 32,
        "ZMMWORD" => 64,
        "" => 0,
        _ => return None,
    };
    let mut found = Memory { base: None, index: None, offset: 0, size, write_back: false };
    if inner.starts_with("rip") {
        let address = comment.trim_start_matches(['#', ' ']).split(' ').next()?;
        found.offset = u64::from_str_radix(address, 16).ok()?;
        return Some(found);
    }
    let mut rest = inner;
    while !rest.is_empty() {
        let negative = rest.starts_with('-');
        let term = rest.trim_start_matches(['+', '-']);
        let end = term.find(['+', '-']).unwrap_or(term.len());
        let (term, after) = term.split_at(end);
        rest = after;
        if let Some((index, scale)) = term.split_once('*') {
            let scale: u32 = scale.parse().ok()?;
            let modifier = Modifier { kind: Shift::Lsl, amount: scale.trailing_zeros() };
            // The index of a gather is a vector: that instruction is refused by its name.
            found.index = Some((register(index)?, modifier));
        } else if let Some(base) = register(term) {
            found.base = Some(base.index);
        } else {
            let offset = number(term)?;
            found.offset = if negative { offset.wrapping_neg() } else { offset };
        }
    }
    Some(found)
}

fn condition(suffix: &str) -> Option<Condition> {
    let (test, holds) = match suffix {
        "e" | "z" => (Test::Zero, true),
        "ne" | "nz" => (Test::Zero, false),
        "b" | "c" | "nae" => (Test::Carry, true),
        "ae" | "nc" | "nb" => (Test::Carry, false),
        "be" | "na" => (Test::CarryOrZero, true),
        "a" | "nbe" => (Test::CarryOrZero, false),
        "s" => (Test::Negative, true),
        "ns" => (Test::Negative, false),
        "o" => (Test::Overflow, true),
        "no" => (Test::Overflow, false),
        "l" | "nge" => (Test::Less, true),
        "ge" | "nl" => (Test::Less, false),
        "le" | "ng" => (Test::LessOrEqual, true),
        "g" | "nle" => (Test::LessOrEqual, false),
        "p" | "pe" => (Test::Parity, true),
        "np" | "po" => (Test::Parity, false),
        _ => return None,
    };
    Some(Condition { test, holds })
}

/// Why an instruction may not be in a kernel at all.
pub fn refused(instruction: &Instruction) -> Option<&'static str> {
    let name = instruction.name.as_str();
    if name.contains("gather") {
        Some("gathers")
    } else if name.contains("scatter") {
        Some("scatters")
    } else if ["divp", "divs", "sqrt"].iter().any(|part| name.contains(part)) {
        Some("divides")
    } else if name == "jmp" && matches!(instruction.operands[..], [Operand::Register(_)]) {
        Some("jumps to an address in a register")
    } else if name.starts_with("rep") || name == "loop" || name == "syscall" {
        Some("is not for kernels")
    } else {
        None
    }
}

/// Calls, and jumps to where the image says.
pub fn is_call(instruction: &Instruction) -> bool {
    let is_memory = matches!(instruction.operands[..], [Operand::Memory(_)]);
    instruction.name == "call" || instruction.name == "jmp" && is_memory
}

pub fn is_branch(instruction: &Instruction) -> bool {
    instruction.name.starts_with('j') && instruction.name != "jmp"
}

pub fn is_store(instruction: &Instruction) -> bool {
    let reads = ["cmp", "test", "push", "jmp"].contains(&instruction.name.as_str());
    matches!(instruction.operands.first(), Some(Operand::Memory(_))) && !reads
}

/// Fills the space between functions and loops.
pub fn is_padding(instruction: &Instruction) -> bool {
    ["int3", "nop", "ud2", "xchg"].contains(&instruction.name.as_str())
        && (instruction.name != "xchg" || instruction.text == "xchg ax,ax")
}

/// Of an instruction with an operand in memory.
pub fn is_move(name: &str) -> bool {
    name.contains("mov") || name.contains("broadcast")
}

pub fn is_multiply(name: &str) -> bool {
    name.contains("mul") || name.contains("madd")
}

pub fn is_shuffle(name: &str) -> bool {
    let parts = [
        "shuf",
        "perm",
        "unpck",
        "pack",
        "broadcast",
        "insert",
        "extract",
        "align",
        "compress",
        "expand",
        "slldq",
        "srldq",
        "movsldup",
        "movshdup",
        "movddup",
        "movmsk",
    ];
    parts.iter().any(|part| name.contains(part))
}

/// Runs one instruction.
pub fn step(machine: &mut Machine, instruction: &Instruction) -> Result<Next> {
    let mut x86 = X86 { machine, instruction };
    x86.run()
}

struct X86<'a> {
    machine: &'a mut Machine,
    instruction: &'a Instruction,
}

impl X86<'_> {
    fn read(&mut self, operand: Operand) -> Value {
        match operand {
            Operand::Register(register) => self.machine.read(register),
            Operand::Number(number) => Known(number),
            Operand::Memory(memory) => {
                let address = self.machine.address(&memory);
                self.machine.load(self.instruction, address, memory.size)
            }
            _ => Secret,
        }
    }

    fn write(&mut self, operand: Operand, value: Value) -> Result<()> {
        match operand {
            Operand::Register(Register { index, bits, high }) => {
                let old = self.machine.register(index);
                if bits == 8 && !high {
                    self.machine.set_low_byte(index, value);
                    return Ok(());
                }
                let value = match bits {
                    64 => value,
                    32 => map(value, |x| cut(x, 32)),
                    _ => {
                        let shift = if high { 8 } else { 0 };
                        let mask = cut(u64::MAX, bits) << shift;
                        join(old, value, |old, x| old & !mask | x << shift & mask)
                    }
                };
                self.machine.set(index, value);
            }
            Operand::Memory(memory) => {
                let address = self.machine.address(&memory);
                self.machine.store(self.instruction, address, memory.size, value)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn run(&mut self) -> Result<Next> {
        let operands = self.instruction.operands.clone();
        let name = self.instruction.name.clone();
        let is_vector = |operand: &Operand| matches!(operand, Operand::Vector { .. });
        if operands.iter().any(is_vector) {
            self.vector(&name, &operands)?;
            return Ok(Next::Follow);
        }
        if let Some(condition) = name.strip_prefix('j').and_then(condition) {
            let [Operand::Number(target)] = operands[..] else { return self.unknown() };
            let holds = self.machine.holds(condition);
            return self.machine.branch(self.instruction, holds, target);
        }
        if let Some(condition) = name.strip_prefix("set").and_then(condition) {
            let holds = self.machine.holds(condition);
            self.write(operands[0], holds)?;
            return Ok(Next::Follow);
        }
        if let Some(condition) = name.strip_prefix("cmov").and_then(condition) {
            let (old, new) = (self.read(operands[0]), self.read(operands[1]));
            let holds = self.machine.holds(condition);
            let value = self.machine.select(holds, new, old);
            self.write(operands[0], value)?;
            return Ok(Next::Follow);
        }
        match (name.as_str(), operands.as_slice()) {
            ("nop" | "endbr64" | "vzeroupper" | "vzeroall", _) => {}
            (name, _) if name.starts_with("prefetch") => {}
            ("ret" | "int3" | "ud2", _) => return Ok(Next::Return),
            ("jmp", &[Operand::Number(target)]) => return Ok(Next::Jump(target)),
            ("mov" | "movabs", &[to, from]) => {
                let value = self.read(from);
                self.write(to, value)?;
            }
            ("movzx", &[to, from]) => {
                let value = self.read(from);
                self.write(to, value)?;
            }
            ("movsx" | "movsxd", &[to, from]) => {
                let bits = width(from);
                let value = map(self.read(from), |x| extend(x, bits));
                self.write(to, value)?;
            }
            ("cdqe" | "cltq", []) => {
                let value = map(self.machine.register(RAX), |x| extend(x, 32));
                self.machine.set(RAX, value);
            }
            ("cqo", []) => {
                let value = map(self.machine.register(RAX), |x| (x as i64 >> 63) as u64);
                self.machine.set(RDX, value);
            }
            ("cdq", []) => {
                let sign = |x| cut((extend(x, 32) as i64 >> 63) as u64, 32);
                let value = map(self.machine.register(RAX), sign);
                self.machine.set(RDX, value);
            }
            ("lea", &[to, Operand::Memory(memory)]) => {
                let value = self.machine.address(&memory);
                self.write(to, value)?;
            }
            ("push", &[from]) => {
                let value = self.read(from);
                let top = map(self.machine.register(STACK_POINTER), |x| x.wrapping_sub(8));
                self.machine.set(STACK_POINTER, top);
                self.machine.store(self.instruction, top, 8, value)?;
            }
            ("pop", &[to]) => {
                let top = self.machine.register(STACK_POINTER);
                let value = self.machine.load(self.instruction, top, 8);
                self.machine.set(STACK_POINTER, map(top, |x| x.wrapping_add(8)));
                self.write(to, value)?;
            }
            ("leave", []) => {
                let frame = self.machine.register(RBP);
                let value = self.machine.load(self.instruction, frame, 8);
                self.machine.set(STACK_POINTER, map(frame, |x| x.wrapping_add(8)));
                self.machine.set(RBP, value);
            }
            ("xchg", &[a, b]) => {
                let (x, y) = (self.read(a), self.read(b));
                self.write(a, y)?;
                self.write(b, x)?;
            }
            ("add" | "adc" | "sub" | "sbb" | "cmp" | "and" | "or" | "xor" | "test", &[a, b]) => {
                self.arithmetic(&name, a, b)?;
            }
            ("inc" | "dec", &[a]) => {
                let carry = self.machine.flags.carry;
                let right = if name == "inc" { Known(1) } else { Known(u64::MAX) };
                let (value, flags) = Machine::sum(self.read(a), right, Known(0), width(a));
                self.machine.flags = Flags { carry, ..flags };
                self.write(a, value)?;
            }
            ("neg", &[a]) => {
                let right = self.read(a);
                let (value, flags) = Machine::difference(Known(0), right, Known(0), width(a));
                self.machine.flags = flags;
                self.write(a, value)?;
            }
            ("not", &[a]) => {
                let value = map(self.read(a), |x| !x);
                self.write(a, value)?;
            }
            ("shl" | "sal" | "shr" | "sar" | "rol" | "ror", &[a]) => {
                self.shift(&name, a, a, Known(1), true)?;
            }
            ("shl" | "sal" | "shr" | "sar" | "rol" | "ror", &[a, by]) => {
                let by = self.read(by);
                self.shift(&name, a, a, by, true)?;
            }
            ("shlx" | "shrx" | "sarx" | "rorx", &[to, from, by]) => {
                let by = self.read(by);
                self.shift(&name[..3], to, from, by, false)?;
            }
            ("shld" | "shrd", &[a, b, by]) => {
                let by = if by == Operand::Register(CL) { self.read(by) } else { Known(0) };
                let (a_value, b_value) = (self.read(a), self.read(b));
                let value = opaque(&[a_value, b_value, by]);
                self.machine.flags = Flags::all(value);
                self.write(a, value)?;
            }
            ("imul", &[a, b]) => self.product(a, a, b)?,
            ("imul", &[to, a, b]) => self.product(to, a, b)?,
            ("mul" | "imul", &[a]) if width(a) == 64 => {
                let (x, y) = (self.read(a), self.machine.register(RAX));
                let half = |i: usize| join(x, y, |x, y| wide_product(x, y, name == "imul")[i]);
                self.machine.set(RDX, half(0));
                self.machine.set(RAX, half(1));
                self.machine.flags = Flags::all(opaque(&[x, y]));
            }
            ("div" | "idiv", &[by]) => self.quotient(by)?,
            ("mulx", &[high, low, a]) if width(a) == 64 => {
                let (x, y) = (self.read(a), self.machine.register(RDX));
                self.write(low, join(x, y, u64::wrapping_mul))?;
                self.write(high, join(x, y, |x, y| wide_product(x, y, false)[0]))?;
            }
            ("bt", &[a, b]) => {
                let (x, bit) = (self.read(a), self.read(b));
                let bits = u64::from(width(a));
                self.machine.flags.carry = join(x, bit, |x, bit| x >> (bit % bits) & 1);
            }
            ("popcnt" | "tzcnt" | "lzcnt" | "bsf" | "bsr", &[to, from]) => {
                let bits = width(from);
                let value = map(self.read(from), |x| bit_count(&name, cut(x, bits), bits));
                let zero = map(value, |_| 0);
                self.machine.flags = Flags::all(if zero == Known(0) { Public } else { zero });
                self.write(to, value)?;
            }
            ("andn" | "bzhi" | "bextr", &[to, a, b]) => {
                let value = opaque(&[self.read(a), self.read(b)]);
                self.machine.flags = Flags::all(value);
                self.write(to, value)?;
            }
            ("blsr" | "blsi" | "blsmsk", &[to, from]) => {
                let value = opaque(&[self.read(from)]);
                self.machine.flags = Flags::all(value);
                self.write(to, value)?;
            }
            _ => return self.unknown(),
        }
        Ok(Next::Follow)
    }

    fn unknown(&self) -> Result<Next> {
        let Instruction { at, text, .. } = self.instruction;
        bail!("{at:x}: {text}: teach xtask/src/ct/x86.rs what this does")
    }

    /// Whatever was in a vector is secret. Addresses are looked at, and what is written is kept.
    fn vector(&mut self, name: &str, operands: &[Operand]) -> Result<()> {
        let bytes = operands.iter().find_map(|operand| match *operand {
            Operand::Vector { bytes } => Some(bytes),
            _ => None,
        });
        for (i, &operand) in operands.iter().enumerate() {
            match operand {
                Operand::Memory(memory) => {
                    let address = self.machine.address(&memory);
                    let size = if memory.size > 0 { memory.size } else { bytes.unwrap_or(64) };
                    if i == 0 && !name.contains("comis") {
                        self.machine.store(self.instruction, address, size, Secret)?;
                    } else {
                        let _ = self.machine.load(self.instruction, address, size);
                    }
                }
                Operand::Register(_) if i == 0 => {
                    let all = match name {
                        "kmovw" | "kmovd" => Some(0xffff),
                        "vmovmskps" => Some(0xff),
                        _ => None,
                    };
                    let value = self.machine.lanes_to_register(all);
                    self.write(operand, value)?;
                }
                _ => {}
            }
        }
        if name.contains("test")
            || name.contains("comis")
            || name.contains("pcmp") && name.contains("str")
        {
            self.machine.flags = Flags::all(Secret);
        }
        Ok(())
    }

    fn arithmetic(&mut self, name: &str, a: Operand, b: Operand) -> Result<()> {
        let bits = width(a);
        let (mut x, mut y) = (self.read(a), self.read(b));
        if a == b && ["xor", "sub", "sbb"].contains(&name) {
            (x, y) = (Known(0), Known(0));
        }
        let carry = self.machine.flags.carry;
        let (value, flags) = match name {
            "add" => Machine::sum(x, y, Known(0), bits),
            "adc" => Machine::sum(x, y, carry, bits),
            "sub" | "cmp" => Machine::difference(x, y, Known(0), bits),
            "sbb" => Machine::difference(x, y, carry, bits),
            _ => {
                let value = match name {
                    "or" => join(x, y, |x, y| x | y),
                    "xor" => join(x, y, |x, y| x ^ y),
                    _ if x == Known(0) || y == Known(0) => Known(0),
                    _ => join(x, y, |x, y| x & y),
                };
                let value = map(value, |x| cut(x, bits));
                (value, flags_of(value, bits))
            }
        };
        self.machine.flags = flags;
        if name != "cmp" && name != "test" {
            self.write(a, value)?;
        }
        Ok(())
    }

    fn shift(
        &mut self,
        name: &str,
        to: Operand,
        from: Operand,
        by: Value,
        flags: bool,
    ) -> Result<()> {
        let bits = width(from);
        let by = map(by, |n| n & if bits == 64 { 63 } else { 31 });
        let value = join(self.read(from), by, |x, n| {
            let n = n as u32;
            let x = cut(x, bits);
            match name {
                "shl" | "sal" => x.checked_shl(n).unwrap_or(0),
                "shr" => x.checked_shr(n).unwrap_or(0),
                "sar" => (extend(x, bits) as i64 >> n.min(63)) as u64,
                "rol" => rotate(x, n % bits, bits),
                _ => rotate(x, (bits - n % bits) % bits, bits),
            }
        });
        let value = map(value, |x| cut(x, bits));
        if flags && by != Known(0) {
            let lost = join(value, Public, |x, _| x);
            self.machine.flags = Flags { carry: lost, overflow: lost, ..flags_of(value, bits) };
        }
        self.write(to, value)
    }

    fn quotient(&mut self, by: Operand) -> Result<()> {
        let bits = width(by);
        let half = |index, high| Operand::Register(Register { index, bits, high });
        // Of bytes, al and ah.
        let low = half(RAX, false);
        let high = if bits == 8 { half(RAX, true) } else { half(RDX, false) };
        let (x, top, by) = (self.read(low), self.read(high), self.read(by));
        self.machine.divides(self.instruction, opaque(&[x, top, by]));
        let unsigned = self.instruction.name == "div" && top == Known(0);
        let (quotient, rest) = match (x, by) {
            (Known(x), Known(by)) if unsigned && by > 0 => (Known(x / by), Known(x % by)),
            _ => (opaque(&[x, top, by]), opaque(&[x, top, by])),
        };
        self.machine.flags = Flags::all(opaque(&[x, top, by]));
        self.write(low, quotient)?;
        self.write(high, rest)
    }

    fn product(&mut self, to: Operand, a: Operand, b: Operand) -> Result<()> {
        let value = join(self.read(a), self.read(b), u64::wrapping_mul);
        self.machine.flags = Flags::all(join(value, Public, |x, _| x));
        self.write(to, map(value, |x| cut(x, width(to))))
    }
}

/// Secret if one of them is; else public, and not worth computing.
fn opaque(values: &[Value]) -> Value {
    if values.contains(&Secret) { Secret } else { Public }
}

fn rotate(x: u64, left: u32, bits: u32) -> u64 {
    if left == 0 { x } else { cut(x << left | x >> (bits - left), bits) }
}

fn bit_count(name: &str, x: u64, bits: u32) -> u64 {
    match name {
        "popcnt" => u64::from(x.count_ones()),
        "tzcnt" | "bsf" => u64::from(x.trailing_zeros().min(bits)),
        "lzcnt" => u64::from(x.leading_zeros() - (64 - bits)),
        _ => u64::from(63 - x.leading_zeros().min(63)),
    }
}

fn width(operand: Operand) -> u32 {
    match operand {
        Operand::Register(register) => register.bits,
        Operand::Memory(memory) => 8 * memory.size,
        _ => 64,
    }
}
