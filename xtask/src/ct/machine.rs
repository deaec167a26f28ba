//! A processor that computes with what is public, and follows secrets.
//!
//! Pointers, lengths and counters are known numbers; everything read from a kernel's arguments and
//! everything that has been in a vector register is secret. So a loop is run as often as the
//! processor would run it, and a branch or an address that is not public is found.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Result, bail};

use super::listing::{Condition, Instruction, Memory, Modifier, Register, Shift, Test};

/// What is known of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Known(u64),
    /// A constant of the program, whose value the listing does not show.
    Public,
    Secret,
}

use Value::{Known, Public, Secret};

/// What comes after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Follow,
    Jump(u64),
    /// A branch there, or not, by something public that is not known.
    Either(u64),
    /// To a routine that is not a kernel's.
    Leave,
    Return,
}

/// Zero, negative, carry, overflow: 0 or 1 each.
#[derive(Clone, Copy)]
pub struct Flags {
    pub zero: Value,
    pub negative: Value,
    pub carry: Value,
    pub overflow: Value,
}

impl Flags {
    pub const fn all(value: Value) -> Self {
        Self { zero: value, negative: value, carry: value, overflow: value }
    }
}

/// Arguments are that far apart; below the first is the program's own image.
const REGION: u64 = 1 << 32;
/// Where the stack ends. A call leaves it 8 bytes off a multiple of 16 on x86-64.
const STACK: u64 = 1 << 46;

/// The address of a kernel's `i`-th argument.
pub const fn argument(i: usize) -> u64 {
    (i as u64 + 1) * REGION
}

#[derive(Clone)]
pub struct Machine {
    pub registers: [Value; 32],
    pub flags: Flags,
    /// Low bytes that were written to a register of which more is not known.
    low_bytes: [Option<Value>; 32],
    memory: HashMap<u64, Value>,
    /// Words of the image that hold the addresses of routines.
    pub routines: BTreeSet<u64>,
    /// Arguments that point to constants.
    pub constants: Vec<u64>,
    /// What was found, a line each.
    pub leaks: BTreeSet<String>,
    /// Whether what a vector's lanes say of themselves is public, and is that all are kept.
    pub keeps_all: bool,
    /// What is not wrong but worth knowing.
    pub notes: BTreeSet<String>,
    /// Selections (`cmov`, `csel`) by a secret: constant time, but worth knowing.
    pub selections: u64,
}

impl Machine {
    /// With nothing known but the stack pointer.
    pub fn new(stack_pointer: u8, alignment: u64) -> Self {
        let mut registers = [Secret; 32];
        registers[usize::from(stack_pointer)] = Known(STACK - alignment);
        Self {
            registers,
            flags: Flags::all(Secret),
            low_bytes: [None; 32],
            memory: HashMap::new(),
            routines: BTreeSet::new(),
            constants: Vec::new(),
            leaks: BTreeSet::new(),
            keeps_all: false,
            notes: BTreeSet::new(),
            selections: 0,
        }
    }

    /// Writes a word, as a caller would.
    pub fn put(&mut self, at: u64, value: Value) {
        for i in 0..8 {
            self.memory.insert(at + i, map(value, |x| x >> (8 * i) & 0xff));
        }
    }

    /// Passes an argument for which there is no register.
    pub fn put_on_stack(&mut self, number: usize, value: Value) {
        self.put(STACK + 8 * number as u64, value);
    }

    pub fn leak(&mut self, instruction: &Instruction, what: &str) {
        self.leaks.insert(format!("{:x}: {}: {what}", instruction.at, instruction.text));
    }

    /// What an instruction moves from a vector or a mask to a register: `all`, if what lanes are
    /// kept is asked for.
    pub fn lanes_to_register(&mut self, all: Option<u64>) -> Value {
        match all {
            Some(all) if self.keeps_all => {
                self.notes.insert("which samples are kept is public".to_owned());
                Known(all)
            }
            _ => Secret,
        }
    }

    /// Takes longer for some operands than for others, so these have to be public.
    pub fn divides(&mut self, instruction: &Instruction, operands: Value) {
        if operands == Secret {
            self.leak(instruction, "divides a secret");
        } else {
            self.notes.insert("divides public numbers".to_owned());
        }
    }

    pub fn register(&self, index: u8) -> Value {
        self.registers[usize::from(index)]
    }

    pub fn set(&mut self, index: u8, value: Value) {
        self.registers[usize::from(index)] = value;
        self.low_bytes[usize::from(index)] = None;
    }

    /// Sets the low byte alone.
    pub fn set_low_byte(&mut self, index: u8, value: Value) {
        let whole = join(self.register(index), value, |x, byte| x & !0xff | byte & 0xff);
        self.set(index, whole);
        self.low_bytes[usize::from(index)] = Some(map(value, |byte| byte & 0xff));
    }

    pub fn read(&self, register: Register) -> Value {
        if let (8, false, Some(value)) =
            (register.bits, register.high, self.low_bytes[usize::from(register.index)])
        {
            return value;
        }
        let shift = if register.high { 8 } else { 0 };
        map(self.register(register.index), |x| cut(x >> shift, register.bits))
    }

    /// Without the change of the base register.
    pub fn address(&self, memory: &Memory) -> Value {
        let base = memory.base.map_or(Known(0), |base| self.register(base));
        let index = memory.index.map_or(Known(0), |(register, modifier)| {
            modified(self.read(register), register.bits, modifier)
        });
        let sum = join(base, index, u64::wrapping_add);
        map(sum, |x| x.wrapping_add(memory.offset))
    }

    pub fn load(&mut self, instruction: &Instruction, address: Value, size: u32) -> Value {
        match address {
            Secret => self.leak(instruction, "reads from an address made of secrets"),
            Public => {}
            // It is known by its place.
            Known(from) if self.routines.contains(&from) => return Known(from),
            Known(from) => {
                let bytes: Vec<_> = (0..u64::from(size)).map(|i| self.byte(from + i)).collect();
                return match bytes.as_slice() {
                    bytes if bytes.contains(&Secret) || bytes.len() > 8 => Secret,
                    bytes if bytes.contains(&Public) => Public,
                    bytes => Known(bytes.iter().rev().fold(0, |acc, &byte| match byte {
                        Known(byte) => acc << 8 | byte,
                        Public | Secret => acc,
                    })),
                };
            }
        }
        Secret
    }

    fn byte(&self, at: u64) -> Value {
        let constant = at < REGION || self.constants.contains(&(at & !(REGION - 1)));
        let unwritten = if constant { Public } else { Secret };
        self.memory.get(&at).copied().unwrap_or(unwritten)
    }

    pub fn store(
        &mut self,
        instruction: &Instruction,
        address: Value,
        size: u32,
        value: Value,
    ) -> Result<()> {
        match address {
            Secret => self.leak(instruction, "writes to an address made of secrets"),
            Public => bail!("{:x}: {}: cannot tell the address", instruction.at, instruction.text),
            Known(to) => {
                for i in 0..size {
                    let byte = map(value, |x| x.checked_shr(8 * i).unwrap_or(0) & 0xff);
                    self.memory.insert(to + u64::from(i), byte);
                }
            }
        }
        Ok(())
    }

    /// Whether a condition holds: 0 or 1.
    pub fn holds(&self, condition: Condition) -> Value {
        let Flags { zero, negative, carry, overflow } = self.flags;
        let less = join(negative, overflow, |n, v| n ^ v);
        let value = match condition.test {
            Test::Zero => zero,
            Test::Carry => carry,
            Test::Negative => negative,
            Test::Overflow => overflow,
            Test::CarryOrZero => join(carry, zero, |c, z| c | z),
            Test::CarryNotZero => join(carry, zero, |c, z| c & (z ^ 1)),
            Test::Less => less,
            Test::LessOrEqual => join(less, zero, |l, z| l | z),
            Test::Parity => join(zero, Public, |z, _| z),
        };
        map(value, |x| x ^ u64::from(!condition.holds))
    }

    /// Goes to `target` if `condition` is 1.
    pub fn branch(
        &mut self,
        instruction: &Instruction,
        condition: Value,
        target: u64,
    ) -> Result<Next> {
        match condition {
            Known(0) => Ok(Next::Follow),
            Known(_) => Ok(Next::Jump(target)),
            Secret => bail!("{:x}: {}: branches on a secret", instruction.at, instruction.text),
            Public => Ok(Next::Either(target)),
        }
    }

    /// `then` if `condition` is 1, `otherwise` if it is 0.
    pub fn select(&mut self, condition: Value, then: Value, otherwise: Value) -> Value {
        match condition {
            Known(0) => otherwise,
            Known(_) => then,
            Public => join(join(then, otherwise, |a, _| a), Public, |a, _| a),
            Secret => {
                self.selections += 1;
                Secret
            }
        }
    }

    /// left + right + carry of `bits` bits, and the flags as x86-64 sets them.
    pub fn sum(left: Value, right: Value, carry: Value, bits: u32) -> (Value, Flags) {
        let carried = join(join(left, right, |a, _| a), carry, |a, _| a);
        match (left, right, carry) {
            (Known(a), Known(b), Known(c)) => {
                let (a, b) = (cut(a, bits), cut(b, bits));
                let wide = u128::from(a) + u128::from(b) + u128::from(c);
                let result = cut(wide as u64, bits);
                let overflow = (a ^ result) & (b ^ result);
                let flags = Flags {
                    carry: Known((wide >> bits) as u64 & 1),
                    overflow: Known(overflow >> (bits - 1) & 1),
                    ..flags_of(Known(result), bits)
                };
                (Known(result), flags)
            }
            _ => (carried, Flags::all(carried)),
        }
    }

    /// left - right - borrow, the carry flag being the borrow.
    pub fn difference(left: Value, right: Value, borrow: Value, bits: u32) -> (Value, Flags) {
        let not_borrow = map(borrow, |b| b ^ 1);
        let (result, mut flags) = Self::sum(left, map(right, |x| !x), not_borrow, bits);
        flags.carry = map(flags.carry, |c| c ^ 1);
        (result, flags)
    }
}

/// Zero and negative of a result; no carry, no overflow.
pub fn flags_of(value: Value, bits: u32) -> Flags {
    let none = map(value, |_| 0);
    Flags {
        zero: map(value, |x| u64::from(cut(x, bits) == 0)),
        negative: map(value, |x| x >> (bits - 1) & 1),
        carry: none,
        overflow: none,
    }
}

pub fn map(value: Value, f: impl FnOnce(u64) -> u64) -> Value {
    match value {
        Known(x) => Known(f(x)),
        other => other,
    }
}

pub fn join(a: Value, b: Value, f: impl FnOnce(u64, u64) -> u64) -> Value {
    match (a, b) {
        (Known(a), Known(b)) => Known(f(a, b)),
        (Secret, _) | (_, Secret) => Secret,
        _ => Public,
    }
}

/// The low `bits` bits.
pub const fn cut(x: u64, bits: u32) -> u64 {
    if bits >= 64 { x } else { x & ((1 << bits) - 1) }
}

/// The low `bits` bits as a signed number.
pub const fn extend(x: u64, bits: u32) -> u64 {
    let unused = 64 - bits;
    ((x << unused) as i64 >> unused) as u64
}

/// A value after its shift or extension; `bits` wide.
pub fn modified(value: Value, bits: u32, modifier: Modifier) -> Value {
    let n = modifier.amount;
    map(value, |x| match modifier.kind {
        Shift::Lsl => x << n,
        Shift::Lsr => cut(x, bits) >> n,
        Shift::Asr => (extend(x, bits) as i64 >> n) as u64,
        Shift::Ror => (cut(x, bits) >> n) | (x << ((bits - n) % 64)),
        Shift::Unsigned(from) => cut(x, from) << n,
        Shift::Signed(from) => extend(x, from) << n,
    })
}

/// The high and the low half of a product of 64-bit words.
pub fn wide_product(a: u64, b: u64, signed: bool) -> [u64; 2] {
    let product = if signed {
        (i128::from(a as i64) * i128::from(b as i64)) as u128
    } else {
        u128::from(a) * u128::from(b)
    };
    [(product >> 64) as u64, product as u64]
}
