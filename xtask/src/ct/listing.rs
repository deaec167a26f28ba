//! Machine code as `objdump` lists it.

use anyhow::{Context, Result, bail};

/// One function of a program.
pub struct Function {
    /// The demangled path.
    pub symbol: String,
    pub code: Vec<Instruction>,
}

/// One instruction, taken apart.
pub struct Instruction {
    pub at: u64,
    /// As listed, for messages.
    pub text: String,
    pub name: String,
    pub operands: Vec<Operand>,
    /// The symbol that the listing puts beside an address.
    pub symbol: Option<String>,
}

/// Registers are numbered as the processor does; the machines' own files know the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    Register(Register),
    /// The register that is always zero.
    Zero {
        bits: u32,
    },
    /// Vector registers, or a mask of one.
    Vector {
        /// Bytes of all of them together.
        bytes: u32,
    },
    Number(u64),
    Memory(Memory),
    /// A shift or an extension of the operand before.
    Modifier(Modifier),
    Condition(Condition),
    /// Anything that no rule asks for.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    pub index: u8,
    pub bits: u32,
    /// Bits 8 to 15 of it.
    pub high: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub base: Option<u8>,
    pub index: Option<(Register, Modifier)>,
    pub offset: u64,
    /// Bytes, where the operand says so; else 0.
    pub size: u32,
    /// The base register is changed first.
    pub write_back: bool,
}

/// The value is cut to `bits`, extended, and shifted left; `Asr` and `Lsr` shift right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modifier {
    pub kind: Shift,
    pub amount: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    Lsl,
    Lsr,
    Asr,
    Ror,
    /// Zero-extension from so many bits, then a shift left.
    Unsigned(u32),
    /// Sign-extension from so many bits, then a shift left.
    Signed(u32),
}

/// What a branch or a selection asks of the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    Zero,
    Carry,
    Negative,
    Overflow,
    /// Carry or zero.
    CarryOrZero,
    /// Negative differs from overflow.
    Less,
    /// Zero, or negative differs from overflow.
    LessOrEqual,
    /// Carry and not zero.
    CarryNotZero,
    Parity,
}

/// A test, or its opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    pub test: Test,
    pub holds: bool,
}

/// How to read the operands of one architecture: mnemonic, operands, and the listing's comment.
pub type Decode = fn(&str, &str, &str) -> (String, Vec<Operand>);

/// The functions whose symbol `wanted` accepts.
pub fn parse(
    listing: &str,
    wanted: impl Fn(&str) -> bool,
    decode: Decode,
) -> Result<Vec<Function>> {
    let mut functions: Vec<Function> = Vec::new();
    let mut current: Option<Function> = None;
    for line in listing.lines() {
        if let Some(symbol) = header(line) {
            functions.extend(current.take());
            if wanted(symbol) {
                current = Some(Function { symbol: symbol.to_owned(), code: Vec::new() });
            }
        } else if let Some(function) = &mut current
            && line.starts_with(' ')
        {
            let instruction = instruction(line, decode).with_context(|| line.to_owned())?;
            function.code.push(instruction);
        }
    }
    functions.extend(current);
    if functions.is_empty() {
        bail!("the listing has none of the functions that were asked for");
    }
    Ok(functions)
}

/// The symbol of a line such as `0000000000001000 <path::name>:`.
fn header(line: &str) -> Option<&str> {
    let (address, symbol) = line.strip_suffix(">:")?.split_once(" <")?;
    u64::from_str_radix(address, 16).ok()?;
    Some(symbol)
}

/// A line such as `    1000:\tadd    rax,0x4`.
fn instruction(line: &str, decode: Decode) -> Result<Instruction> {
    let (address, text) = line.split_once(':').context("an address was expected")?;
    let at = u64::from_str_radix(address.trim(), 16)?;
    let text = text.trim();
    let symbol = text.split_once(" <").and_then(|(_, symbol)| symbol.rsplit_once('>'));
    let symbol = symbol.map(|(symbol, _)| symbol.to_owned());
    // A comment begins so on 64-bit Arm, or so on x86-64.
    let end = text.find("//").or_else(|| text.find("# ")).unwrap_or(text.len());
    let (body, comment) = text.split_at(end);
    let body = body.split(" <").next().unwrap_or_default().trim();
    let (name, operands) = body.split_once([' ', '\t']).unwrap_or((body, ""));
    let (name, operands) = decode(name, operands.trim(), comment);
    let text = body.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Instruction { at, text, name, operands, symbol })
}

/// Splits at commas that are not inside brackets or braces.
pub fn split(operands: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0, 0);
    for (at, byte) in operands.bytes().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(operands[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    let last = operands[from..].trim();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

/// A number such as `0x10`, `-0x8`, `12`.
pub fn number(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}
