//! 64-bit Arm, as `objdump` writes it.

use anyhow::{Result, bail};

use super::listing::{
    Condition, Instruction, Memory, Modifier, Operand, Register, Shift, Test, number, split,
};
use super::machine::Value::{self, Known, Public, Secret};
use super::machine::{
    Flags, Machine, Next, cut, extend, flags_of, join, map, modified, wide_product,
};

pub const ARGUMENTS: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
pub const STACK_POINTER: u8 = 31;
pub const STACK_ALIGNMENT: u64 = 0;

/// What a called function may change: x0 to x18 and the link register.
pub const VOLATILE: [u8; 20] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 30];

fn register(text: &str) -> Option<Operand> {
    let found = |index, bits| Operand::Register(Register { index, bits, high: false });
    match text {
        "sp" => return Some(found(STACK_POINTER, 64)),
        "wsp" => return Some(found(STACK_POINTER, 32)),
        "xzr" => return Some(Operand::Zero { bits: 64 }),
        "wzr" => return Some(Operand::Zero { bits: 32 }),
        _ => {}
    }
    let bits = match text.as_bytes().first()? {
        b'x' => 64,
        b'w' => 32,
        _ => return None,
    };
    let index = text[1..].parse().ok().filter(|index| *index < 31)?;
    Some(found(index, bits))
}

/// Bytes of a vector register, an element of one, or a list of them.
fn vector(text: &str) -> Option<u32> {
    if let Some(list) = text.strip_prefix('{') {
        let list = list.split('}').next()?;
        if let Some((first, last)) = list.split_once('-') {
            let at = |text: &str| text.trim().strip_prefix('v')?.split('.').next()?.parse().ok();
            let (from, to): (u32, u32) = (at(first)?, at(last)?);
            return Some((to + 32 - from) % 32 * vector(first.trim())? + vector(last.trim())?);
        }
        return split(list).into_iter().map(vector).sum();
    }
    let mut name = text;
    let mut kind = "";
    if let Some((register, arrangement)) = text.split_once('.') {
        // Of `s[1]` the letter.
        (name, kind) = (register, arrangement.split('[').next().unwrap_or_default());
    }
    let digits = name.get(1..)?;
    digits.parse::<u32>().ok().filter(|index| *index < 32)?;
    let element = |kind: &str| match kind {
        "b" => Some(1),
        "h" => Some(2),
        "s" => Some(4),
        "d" => Some(8),
        "q" => Some(16),
        _ => None,
    };
    if !name.starts_with('v') {
        return element(&name[..1]);
    }
    let lanes = kind.trim_end_matches(char::is_alphabetic);
    if lanes.is_empty() {
        // One element: `v0.s[1]`.
        return element(kind.get(..1)?);
    }
    let lanes: u32 = lanes.parse().ok()?;
    Some(lanes * element(&kind[kind.len() - 1..])?)
}

pub fn decode(name: &str, operands: &str, _: &str) -> (String, Vec<Operand>) {
    let branch = is_jump(name);
    let parse = |text: &str| operand(text, branch || name == "adrp" || name == "adr");
    (name.to_owned(), split(operands).into_iter().map(parse).collect())
}

fn is_jump(name: &str) -> bool {
    ["b", "bl", "cbz", "cbnz", "tbz", "tbnz"].contains(&name) || name.starts_with("b.")
}

fn operand(text: &str, has_target: bool) -> Operand {
    if let Some(found) = register(text) {
        return found;
    }
    if let Some(bytes) = vector(text) {
        return Operand::Vector { bytes };
    }
    if let Some(found) = text.strip_prefix('#').and_then(number) {
        return Operand::Number(found);
    }
    if has_target && let Ok(target) = u64::from_str_radix(text, 16) {
        return Operand::Number(target);
    }
    if let Some(found) = modifier(text) {
        return Operand::Modifier(found);
    }
    if let Some(found) = condition(text) {
        return Operand::Condition(found);
    }
    memory(text).map_or(Operand::Other, Operand::Memory)
}

fn modifier(text: &str) -> Option<Modifier> {
    let (kind, amount) = text.split_once(" #").unwrap_or((text, "0"));
    let amount = number(amount)? as u32;
    let kind = match kind {
        "lsl" => Shift::Lsl,
        "lsr" => Shift::Lsr,
        "asr" => Shift::Asr,
        "ror" => Shift::Ror,
        "uxtb" => Shift::Unsigned(8),
        "uxth" => Shift::Unsigned(16),
        "uxtw" => Shift::Unsigned(32),
        "uxtx" => Shift::Unsigned(64),
        "sxtb" => Shift::Signed(8),
        "sxth" => Shift::Signed(16),
        "sxtw" => Shift::Signed(32),
        "sxtx" => Shift::Signed(64),
        _ => return None,
    };
    Some(Modifier { kind, amount })
}

fn memory(text: &str) -> Option<Memory> {
    let (inner, write_back) = match text.strip_suffix("]!") {
        Some(inner) => (inner, true),
        None => (text.strip_suffix(']')?, false),
    };
    let parts = split(inner.strip_prefix('[')?);
    let Operand::Register(base) = register(parts.first()?)? else { return None };
    let mut found = Memory { base: Some(base.index), index: None, offset: 0, size: 0, write_back };
    if let Some(second) = parts.get(1) {
        if let Some(offset) = second.strip_prefix('#') {
            found.offset = number(offset)?;
        } else if let Some(Operand::Register(index)) = register(second) {
            let plain = Modifier { kind: Shift::Lsl, amount: 0 };
            let modifier = parts.get(2).map_or(Some(plain), |text| modifier(text))?;
            found.index = Some((index, modifier));
        } else {
            return None;
        }
    }
    Some(found)
}

fn condition(suffix: &str) -> Option<Condition> {
    let (test, holds) = match suffix {
        "eq" => (Test::Zero, true),
        "ne" => (Test::Zero, false),
        "cs" | "hs" => (Test::Carry, true),
        "cc" | "lo" => (Test::Carry, false),
        "mi" => (Test::Negative, true),
        "pl" => (Test::Negative, false),
        "vs" => (Test::Overflow, true),
        "vc" => (Test::Overflow, false),
        "hi" => (Test::CarryNotZero, true),
        "ls" => (Test::CarryNotZero, false),
        "lt" => (Test::Less, true),
        "ge" => (Test::Less, false),
        "le" => (Test::LessOrEqual, true),
        "gt" => (Test::LessOrEqual, false),
        _ => return None,
    };
    Some(Condition { test, holds })
}

/// Why an instruction may not be in a kernel at all.
pub fn refused(instruction: &Instruction) -> Option<&'static str> {
    match instruction.name.as_str() {
        "fdiv" | "fsqrt" => Some("divides"),
        "br" => Some("jumps to an address in a register"),
        "svc" => Some("is not for kernels"),
        _ => None,
    }
}

pub fn is_call(instruction: &Instruction) -> bool {
    ["bl", "blr"].contains(&instruction.name.as_str())
}

pub fn is_branch(instruction: &Instruction) -> bool {
    is_jump(&instruction.name) && instruction.name != "b" && !is_call(instruction)
}

pub fn is_store(instruction: &Instruction) -> bool {
    instruction.name.starts_with("st")
}

/// Fills the space between functions and loops.
pub fn is_padding(instruction: &Instruction) -> bool {
    ["nop", "udf", "brk"].contains(&instruction.name.as_str())
}

/// Of an instruction with an operand in memory.
pub fn is_move(_: &str) -> bool {
    true
}

pub fn is_multiply(name: &str) -> bool {
    ["mul", "mla", "mls"].iter().any(|part| name.contains(part))
}

pub fn is_shuffle(name: &str) -> bool {
    let names = ["zip", "uzp", "trn", "ext", "tbl", "tbx", "rev", "dup", "ins"];
    names.iter().any(|part| name.starts_with(part))
}

/// Runs one instruction.
pub fn step(machine: &mut Machine, instruction: &Instruction) -> Result<Next> {
    Arm { machine, instruction }.run()
}

struct Arm<'a> {
    machine: &'a mut Machine,
    instruction: &'a Instruction,
}

impl Arm<'_> {
    fn read(&self, operand: Operand) -> Value {
        match operand {
            Operand::Register(register) => self.machine.read(register),
            Operand::Zero { .. } => Known(0),
            Operand::Number(number) => Known(number),
            _ => Secret,
        }
    }

    fn write(&mut self, operand: Operand, value: Value) {
        if let Operand::Register(register) = operand {
            self.machine.set(register.index, map(value, |x| cut(x, register.bits)));
        }
    }

    /// The last operand, with the shift behind it if there is one.
    fn last(&self, operands: &[Operand]) -> Value {
        match *operands {
            [.., operand, Operand::Modifier(modifier)] => {
                modified(self.read(operand), width(operand), modifier)
            }
            [.., operand] => self.read(operand),
            [] => Secret,
        }
    }

    fn run(&mut self) -> Result<Next> {
        let operands = self.instruction.operands.clone();
        let name = self.instruction.name.clone();
        let is_vector = operands.iter().any(|operand| matches!(operand, Operand::Vector { .. }));
        if let Some(at) = operands.iter().position(|operand| matches!(operand, Operand::Memory(_)))
        {
            self.memory(&name, &operands, at)?;
            return Ok(Next::Follow);
        }
        if is_vector {
            // Whatever was in a vector is secret. Of a comparison, one bit of a lane is used.
            let value = self.machine.lanes_to_register(Some(1));
            self.write(operands[0], value);
            if name.starts_with("fcmp") || name.starts_with("fccmp") {
                self.machine.flags = Flags::all(Secret);
            }
            return Ok(Next::Follow);
        }
        if let Some(condition) = name.strip_prefix("b.").and_then(condition) {
            let [Operand::Number(target)] = operands[..] else { return self.unknown() };
            let holds = self.machine.holds(condition);
            return self.machine.branch(self.instruction, holds, target);
        }
        let bits = operands.first().map_or(64, |&operand| width(operand));
        match (name.as_str(), operands.as_slice()) {
            ("nop" | "hint" | "bti", _) => {}
            ("ret" | "brk" | "udf", _) => return Ok(Next::Return),
            ("b", &[Operand::Number(target)]) => return Ok(Next::Jump(target)),
            ("cbz" | "cbnz", &[a, Operand::Number(target)]) => {
                let bits = width(a);
                let zero = map(self.read(a), |x| u64::from(cut(x, bits) == 0));
                let taken = if name == "cbz" { zero } else { map(zero, |z| z ^ 1) };
                return self.machine.branch(self.instruction, taken, target);
            }
            ("tbz" | "tbnz", &[a, Operand::Number(bit), Operand::Number(target)]) => {
                let set = map(self.read(a), |x| x >> bit & 1);
                let taken = if name == "tbnz" { set } else { map(set, |b| b ^ 1) };
                return self.machine.branch(self.instruction, taken, target);
            }
            (
                "mov" | "movz" | "adr" | "adrp" | "sxtw" | "sxth" | "sxtb" | "uxtw" | "uxth"
                | "uxtb" | "movn" | "mvn" | "neg" | "negs",
                &[to, ..],
            ) => {
                let from = operands.get(1).map_or(64, |&operand| width(operand));
                let value = self.last(&operands[1..]);
                let value = match name.as_str() {
                    "sxtw" => map(value, |x| extend(x, 32)),
                    "sxth" => map(value, |x| extend(x, 16)),
                    "sxtb" => map(value, |x| extend(x, 8)),
                    "uxtw" => map(value, |x| cut(x, 32)),
                    "uxth" => map(value, |x| cut(x, 16)),
                    "uxtb" => map(value, |x| cut(x, 8)),
                    "movn" | "mvn" => map(value, |x| !x),
                    "neg" => map(value, u64::wrapping_neg),
                    "negs" => {
                        let (value, flags) = Self::difference(Known(0), value, Known(1), from);
                        self.machine.flags = flags;
                        value
                    }
                    _ => value,
                };
                self.write(to, value);
            }
            ("movk", &[to, Operand::Number(half), ..]) => {
                let shift = match operands.get(2) {
                    Some(Operand::Modifier(modifier)) => modifier.amount,
                    _ => 0,
                };
                let value = map(self.read(to), |x| x & !(0xffff << shift) | half << shift);
                self.write(to, value);
            }
            ("add" | "adds" | "sub" | "subs", &[to, a, ..]) => {
                let (x, y) = (self.read(a), self.last(&operands[2..]));
                let (value, flags) = if name.starts_with("add") {
                    Machine::sum(x, y, Known(0), bits)
                } else {
                    Self::difference(x, y, Known(1), bits)
                };
                if name.ends_with('s') {
                    self.machine.flags = flags;
                }
                self.write(to, value);
            }
            ("cmp" | "cmn", &[a, ..]) => {
                let (x, y) = (self.read(a), self.last(&operands[1..]));
                let (_, flags) = if name == "cmn" {
                    Machine::sum(x, y, Known(0), bits)
                } else {
                    Self::difference(x, y, Known(1), bits)
                };
                self.machine.flags = flags;
            }
            ("and" | "ands" | "orr" | "orn" | "eor" | "eon" | "bic" | "bics", &[to, a, ..]) => {
                let value = self.logic(&name, self.read(a), self.last(&operands[2..]));
                if name == "ands" || name == "bics" {
                    self.machine.flags = flags_of(value, bits);
                }
                self.write(to, value);
            }
            ("tst", &[a, ..]) => {
                let value = self.logic("and", self.read(a), self.last(&operands[1..]));
                self.machine.flags = flags_of(value, bits);
            }
            ("lsl" | "lsr" | "asr" | "ror", &[to, a, by]) => {
                let value = join(self.read(a), self.read(by), |x, n| {
                    let n = n as u32 % bits;
                    match name.as_str() {
                        "lsl" => x << n,
                        "lsr" => cut(x, bits) >> n,
                        "asr" => (extend(x, bits) as i64 >> n) as u64,
                        _ if n == 0 => x,
                        _ => cut(x, bits) >> n | x << (bits - n),
                    }
                });
                self.write(to, value);
            }
            ("ubfx" | "sbfx", &[to, a, Operand::Number(lsb), Operand::Number(len)]) => {
                let sign = name == "sbfx";
                let value = map(self.read(a), |x| field(x >> lsb, len as u32, sign));
                self.write(to, value);
            }
            ("ubfiz" | "sbfiz", &[to, a, Operand::Number(lsb), Operand::Number(len)]) => {
                let sign = name == "sbfiz";
                let value = map(self.read(a), |x| field(x, len as u32, sign) << lsb);
                self.write(to, value);
            }
            ("bfi" | "bfxil" | "extr", &[to, a, ..]) => {
                let value = join(join(self.read(to), self.read(a), |x, _| x), Public, |x, _| x);
                self.write(to, value);
            }
            ("clz", &[to, a]) => {
                let value = map(self.read(a), |x| u64::from(cut(x, bits).leading_zeros()));
                self.write(to, map(value, |n| n.wrapping_sub(64 - u64::from(bits))));
            }
            ("rbit", &[to, a]) => {
                let value = map(self.read(a), |x| cut(x, bits).reverse_bits() >> (64 - bits));
                self.write(to, value);
            }
            ("rev" | "rev16" | "rev32", &[to, a]) => {
                let value = join(self.read(a), Public, |x, _| x);
                self.write(to, value);
            }
            ("mul" | "mneg", &[to, a, b]) => {
                let value = join(self.read(a), self.read(b), u64::wrapping_mul);
                let negated = name == "mneg";
                self.write(to, map(value, |x| if negated { x.wrapping_neg() } else { x }));
            }
            ("udiv" | "sdiv", &[to, a, b]) => {
                let (x, y) = (self.read(a), self.read(b));
                self.machine.divides(self.instruction, join(x, y, |x, _| x));
                let value = join(x, y, |x, y| cut(x, bits).checked_div(cut(y, bits)).unwrap_or(0));
                let signed = if name == "sdiv" { Public } else { Known(0) };
                self.write(to, join(value, signed, |x, _| x));
            }
            ("madd" | "msub", &[to, a, b, c]) => {
                let product = join(self.read(a), self.read(b), u64::wrapping_mul);
                let f = if name == "madd" { u64::wrapping_add } else { u64::wrapping_sub };
                let value = join(self.read(c), product, f);
                self.write(to, value);
            }
            ("umulh" | "smulh", &[to, a, b]) => {
                let signed = name == "smulh";
                let value = |x, y| wide_product(x, y, signed)[0];
                self.write(to, join(self.read(a), self.read(b), value));
            }
            ("umull" | "umaddl" | "umsubl" | "smull" | "smaddl" | "smsubl", &[to, a, b, ..]) => {
                let wide = |x| if name.starts_with('s') { extend(x, 32) } else { cut(x, 32) };
                let (x, y) = (map(self.read(a), wide), map(self.read(b), wide));
                let product = join(x, y, u64::wrapping_mul);
                let sum = operands.get(3).map_or(Known(0), |&operand| self.read(operand));
                let f = if name.ends_with("subl") { u64::wrapping_sub } else { u64::wrapping_add };
                self.write(to, join(sum, product, f));
            }
            ("csel" | "csinc" | "csinv" | "csneg", &[to, a, b, Operand::Condition(condition)]) => {
                let (x, y) = (self.read(a), self.read(b));
                let y = match name.as_str() {
                    "csinc" => map(y, |y| y.wrapping_add(1)),
                    "csinv" => map(y, |y| !y),
                    "csneg" => map(y, u64::wrapping_neg),
                    _ => y,
                };
                let holds = self.machine.holds(condition);
                let value = self.machine.select(holds, x, y);
                self.write(to, value);
            }
            ("cset" | "csetm", &[to, Operand::Condition(condition)]) => {
                let holds = self.machine.holds(condition);
                let mask = name == "csetm";
                self.write(to, map(holds, |x| if mask { x.wrapping_neg() } else { x }));
            }
            ("cinc" | "cinv" | "cneg", &[to, a, Operand::Condition(condition)]) => {
                let x = self.read(a);
                let changed = match name.as_str() {
                    "cinc" => map(x, |x| x.wrapping_add(1)),
                    "cinv" => map(x, |x| !x),
                    _ => map(x, u64::wrapping_neg),
                };
                let holds = self.machine.holds(condition);
                let value = self.machine.select(holds, changed, x);
                self.write(to, value);
            }
            (
                "ccmp" | "ccmn",
                &[a, b, Operand::Number(otherwise), Operand::Condition(condition)],
            ) => self.compare_if(a, b, otherwise, condition, name == "ccmn"),
            _ => return self.unknown(),
        }
        Ok(Next::Follow)
    }

    fn unknown(&self) -> Result<Next> {
        let Instruction { at, text, .. } = self.instruction;
        bail!("{at:x}: {text}: teach xtask/src/ct/arm.rs what this does")
    }

    /// left - right; the carry is set where nothing is borrowed.
    fn difference(left: Value, right: Value, carry: Value, bits: u32) -> (Value, Flags) {
        Machine::sum(left, map(right, |x| !x), carry, bits)
    }

    fn logic(&self, name: &str, x: Value, y: Value) -> Value {
        match name {
            "orr" => join(x, y, |x, y| x | y),
            "orn" => join(x, y, |x, y| x | !y),
            "eor" => join(x, y, |x, y| x ^ y),
            "eon" => join(x, y, |x, y| x ^ !y),
            "bic" | "bics" => join(x, y, |x, y| x & !y),
            _ => join(x, y, |x, y| x & y),
        }
    }

    fn compare_if(
        &mut self,
        a: Operand,
        b: Operand,
        otherwise: u64,
        condition: Condition,
        negated: bool,
    ) {
        let (x, y) = (self.read(a), self.read(b));
        let (_, compared) = if negated {
            Machine::sum(x, y, Known(0), width(a))
        } else {
            Self::difference(x, y, Known(1), width(a))
        };
        let given = |bit: u32| Known(otherwise >> bit & 1);
        let given =
            Flags { negative: given(3), zero: given(2), carry: given(1), overflow: given(0) };
        self.machine.flags = match self.machine.holds(condition) {
            Known(0) => given,
            Known(_) => compared,
            other => Flags::all(other),
        };
    }

    /// Loads and stores: what goes before the address is read or written; a number behind it is
    /// added to the base register afterwards.
    fn memory(&mut self, name: &str, operands: &[Operand], at: usize) -> Result<()> {
        let (data, [Operand::Memory(memory), after @ ..]) = operands.split_at(at) else {
            return Ok(());
        };
        let address = self.machine.address(memory);
        if let (true, Some(base)) = (memory.write_back, memory.base) {
            self.machine.set(base, address);
        }
        let is_store = is_store(self.instruction);
        let mut offset = 0;
        for &operand in data {
            let size = size(name, operand);
            let address = map(address, |x| x.wrapping_add(offset));
            offset += u64::from(size);
            match operand {
                _ if name.starts_with("prfm") => {}
                Operand::Other => {
                    self.unknown()?;
                }
                _ if is_store => {
                    let value = self.read(operand);
                    self.machine.store(self.instruction, address, size, value)?;
                }
                _ => {
                    let value = self.machine.load(self.instruction, address, size);
                    let value = match name.trim_start_matches("ldu").trim_start_matches("ldr") {
                        "sw" => map(value, |x| extend(x, 32)),
                        "sh" => map(value, |x| extend(x, 16)),
                        "sb" => map(value, |x| extend(x, 8)),
                        _ => value,
                    };
                    self.write(operand, value);
                }
            }
        }
        if let (Some(base), Some(&by)) = (memory.base, after.first()) {
            let by = self.read(by);
            let moved = join(self.machine.register(base), by, u64::wrapping_add);
            self.machine.set(base, moved);
        }
        Ok(())
    }
}

/// The low `len` bits, extended with the sign or with zeros.
fn field(x: u64, len: u32, signed: bool) -> u64 {
    if signed { extend(x, len) } else { cut(x, len) }
}

fn width(operand: Operand) -> u32 {
    match operand {
        Operand::Register(Register { bits, .. }) | Operand::Zero { bits } => bits,
        _ => 64,
    }
}

/// Bytes that a load or store moves for one of its registers.
fn size(name: &str, operand: Operand) -> u32 {
    match operand {
        Operand::Vector { bytes } => bytes,
        _ if name.ends_with('b') => 1,
        _ if name.ends_with('h') => 2,
        _ if name.ends_with("sw") => 4,
        _ => width(operand) / 8,
    }
}
