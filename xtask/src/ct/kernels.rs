//! Runs every kernel of a program on [`Machine`], and counts.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

use super::listing::{Decode, Function, Instruction, Memory, Operand, parse};
use super::machine::{Machine, Next, Value, argument};
use super::{arm, x86};

/// What the two processor families differ in.
pub struct Architecture {
    /// The registers of the first arguments; the others lie on the stack.
    arguments: &'static [u8],
    stack_pointer: u8,
    stack_alignment: u64,
    decode: Decode,
    step: fn(&mut Machine, &Instruction) -> Result<Next>,
    refused: fn(&Instruction) -> Option<&'static str>,
    is_call: fn(&Instruction) -> bool,
    returns_here: fn(&Instruction) -> bool,
    /// Registers that a called function may change.
    volatile: &'static [u8],
    is_branch: fn(&Instruction) -> bool,
    is_padding: fn(&Instruction) -> bool,
    is_move: fn(&str) -> bool,
    is_multiply: fn(&str) -> bool,
    is_shuffle: fn(&str) -> bool,
    is_store: fn(&Instruction) -> bool,
}

pub const X86_64: Architecture = Architecture {
    arguments: &x86::ARGUMENTS,
    stack_pointer: x86::STACK_POINTER,
    stack_alignment: x86::STACK_ALIGNMENT,
    decode: x86::decode,
    step: x86::step,
    refused: x86::refused,
    is_call: x86::is_call,
    returns_here: |instruction| instruction.name == "call",
    volatile: &x86::VOLATILE,
    is_branch: x86::is_branch,
    is_padding: x86::is_padding,
    is_move: x86::is_move,
    is_multiply: x86::is_multiply,
    is_shuffle: x86::is_shuffle,
    is_store: x86::is_store,
};

pub const AARCH64: Architecture = Architecture {
    arguments: &arm::ARGUMENTS,
    stack_pointer: arm::STACK_POINTER,
    stack_alignment: arm::STACK_ALIGNMENT,
    decode: arm::decode,
    step: arm::step,
    refused: arm::refused,
    is_call: arm::is_call,
    returns_here: arm::is_call,
    volatile: &arm::VOLATILE,
    is_branch: arm::is_branch,
    is_padding: arm::is_padding,
    is_move: arm::is_move,
    is_multiply: arm::is_multiply,
    is_shuffle: arm::is_shuffle,
    is_store: arm::is_store,
};

/// An argument of a kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    /// Points to secrets.
    Secrets,
    /// Points to two slices of secrets, of two lengths.
    Slices,
    /// Points to pointers, to as many blocks as a kernel absorbs at once.
    Blocks,
    /// Points to two numbers.
    Numbers,
    /// Points to constants.
    Constants,
    /// A constant.
    Constant,
    /// A length, or another number that says how much is to be done.
    Number,
}

use Argument::{Blocks, Constant, Constants, Number, Numbers, Secrets, Slices};

/// A kernel, how it is called, and the numbers that core passes.
type Kernel = (&'static str, &'static [Argument], &'static [&'static [u64]]);

/// As in `symbolon_core::kernel::Kernels`, but for what vector units leave to the portable kernels:
/// the small transforms, and plaintexts of less than N words.
const KERNELS: [Kernel; 36] = [
    ("forward", &[Secrets, Constants], &[&[]]),
    ("inverse", &[Secrets, Constants], &[&[]]),
    ("forward_mul_acc", &[Secrets, Secrets, Secrets, Constants], &[&[]]),
    ("mul", &[Secrets, Secrets, Secrets, Constants], &[&[]]),
    ("mul_assign", &[Secrets, Secrets, Constants], &[&[]]),
    ("mul_acc", &[Secrets, Secrets, Secrets, Constants], &[&[]]),
    ("add_assign", &[Secrets, Secrets, Constants], &[&[]]),
    ("sub_assign", &[Secrets, Secrets, Constants], &[&[]]),
    ("negate", &[Secrets, Constants], &[&[]]),
    ("scale", &[Secrets, Constant, Constants], &[&[]]),
    ("split", &[Secrets, Secrets, Constants], &[&[]]),
    ("join", &[Secrets, Secrets, Constants], &[&[]]),
    // Two, three and five digits.
    (
        "dot_acc",
        &[Secrets, Slices, Numbers, Constants],
        &[&[6, 12, 3, 6], &[12, 24, 4, 8], &[60, 120, 12, 24]],
    ),
    ("tensor", &[Secrets, Secrets, Secrets, Secrets, Constants], &[&[]]),
    ("raise", &[Secrets, Secrets, Constants, Constant, Constants], &[&[]]),
    (
        "convert",
        &[Secrets, Number, Secrets, Number, Constants, Number, Constants, Number],
        &[&[4, 3, 3, 4], &[3, 7, 7, 3], &[6, 5, 5, 6], &[5, 11, 11, 5]],
    ),
    ("permute", &[Secrets, Secrets, Constants], &[&[]]),
    ("block_sums", &[Secrets, Number, Secrets, Secrets, Constants], &[&[32], &[16], &[8]]),
    ("plain_forward", &[Secrets, Number, Number], &[&[4096, 12], &[8192, 13]]),
    (
        "plain_inverse",
        &[Secrets, Number, Number],
        &[&[4096, 12], &[4096, 5], &[4096, 4], &[4096, 3], &[8192, 13]],
    ),
    ("add_scaled", &[Secrets, Secrets, Constant, Constant, Constants], &[&[]]),
    ("lift_plain", &[Secrets, Secrets, Constants], &[&[]]),
    (
        "round",
        &[Secrets, Secrets, Number, Constants, Number],
        &[&[2, 2], &[3, 3], &[4, 4], &[5, 5]],
    ),
    ("keystream", &[Secrets, Number, Secrets, Constant], &[&[1], &[2], &[4], &[5]]),
    ("noise", &[Secrets, Secrets], &[&[]]),
    ("ternary", &[Secrets, Number, Secrets], &[&[8192]]),
    ("uniform", &[Secrets, Number, Secrets, Constants], &[&[272]]),
    (
        "spread",
        &[Secrets, Number, Constants, Number],
        &[&[2, 2], &[3, 3], &[4, 4], &[5, 5], &[6, 6]],
    ),
    ("norm_f32", &[Secrets, Number], &[&[128], &[512]]),
    ("norm_f64", &[Secrets, Number], &[&[128], &[512]]),
    ("round_f32", &[Secrets, Number, Secrets, Number], &[&[128, 128], &[512, 512]]),
    ("round_f64", &[Secrets, Number, Secrets, Number], &[&[128, 128], &[512, 512]]),
    ("pack", &[Secrets, Secrets], &[&[]]),
    ("unpack", &[Secrets, Secrets, Constants], &[&[]]),
    // Sponges.
    ("absorb", &[Secrets, Blocks, Number], &[&[8], &[1]]),
    // Sponges; half of the rounds, and all. Fewer sponges are the portable kernel's.
    ("keccak", &[Secrets, Number, Number], &[&[8, 0], &[8, 1], &[5, 0], &[3, 1]]),
];

/// Between the slices of an argument: more than any is long.
const SLICE: u64 = 1 << 24;

/// Sponges of a kernel, as in `symbolon_core::kernel`.
const SPONGES: u64 = 8;

/// Kernels that throw lanes away. Which ones these are is public: no sample that is kept depends on
/// it. They are run as if all were kept.
const REJECTING: [&str; 2] = ["ternary", "uniform"];

/// Routines of the C library whose time depends on addresses and length alone.
const MEMORY_ROUTINES: [&str; 3] = ["memset", "memcpy", "memmove"];

/// More instructions than any kernel runs.
const MOST_STEPS: u64 = 2_000_000;

/// The instructions of one run, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub multiplies: u64,
    pub shuffles: u64,
    /// Vector loads and stores that do nothing else.
    pub moves: u64,
    pub other_vector: u64,
    pub scalar: u64,
    pub branches: u64,
    /// Of the above: those that read memory, a register each.
    pub loads: u64,
    pub stores: u64,
}

impl Counts {
    pub const fn all(&self) -> u64 {
        self.multiplies
            + self.shuffles
            + self.moves
            + self.other_vector
            + self.scalar
            + self.branches
    }

    fn add(&mut self, instruction: &Instruction, architecture: &Architecture) {
        let name = instruction.name.as_str();
        let vectors = instruction.operands.iter().filter_map(|operand| match operand {
            Operand::Vector { bytes } => Some(u64::from(*bytes)),
            _ => None,
        });
        let is_memory = |operand: &&Operand| matches!(operand, Operand::Memory(_));
        let has_memory = instruction.operands.iter().find(is_memory).is_some()
            && name != "lea"
            && !name.starts_with("prf");
        // Arm's pairs and lists move several registers.
        let moved = vectors.clone().map(|bytes| bytes.div_ceil(16)).sum::<u64>().max(1);
        if has_memory {
            let count = if (architecture.is_store)(instruction) {
                &mut self.stores
            } else {
                &mut self.loads
            };
            *count += if name.starts_with("ld") || name.starts_with("st") { moved } else { 1 };
        }
        let kind = if (architecture.is_branch)(instruction) {
            &mut self.branches
        } else if vectors.count() == 0 {
            &mut self.scalar
        } else if has_memory && (architecture.is_move)(name) {
            &mut self.moves
        } else if (architecture.is_multiply)(name) {
            &mut self.multiplies
        } else if (architecture.is_shuffle)(name) {
            &mut self.shuffles
        } else {
            &mut self.other_vector
        };
        *kind += 1;
    }
}

/// One run of a kernel.
#[derive(Default)]
pub struct Run {
    /// The kernel's name and the numbers it was called with; empty where it was not called so.
    pub name: String,
    pub counts: Counts,
    /// What is not wrong but worth knowing.
    pub notes: BTreeSet<String>,
}

/// How a run ended.
enum End {
    Returned,
    /// In a routine that is not for memory: the refusal of a bad argument.
    Called(String),
    Endless,
}

/// What was found in a set of kernels.
#[derive(Default)]
pub struct Findings {
    pub runs: Vec<Run>,
    /// Instructions of all kernels.
    pub size: usize,
    /// Why the kernels are not accepted, a line each.
    pub violations: BTreeSet<String>,
}

/// The kernels of a module such as `symbolon_core::kernel::avx2` in a listing.
pub fn examine(listing: &str, module: &str, architecture: &Architecture) -> Result<Findings> {
    let prefix = format!("{module}::");
    let functions = parse(listing, |symbol| symbol.contains(&prefix), architecture.decode)
        .with_context(|| module.to_owned())?;
    let mut program = Program::new(&functions, architecture);
    let mut findings = Findings::default();
    for function in &functions {
        // A kernel may be a safe function around one of the same name that has the instructions.
        let Some(name) = function.symbol.strip_prefix(&prefix).filter(|name| !name.contains("::"))
        else {
            continue;
        };
        let Some(kernel) = KERNELS.iter().find(|(kernel, _, _)| *kernel == name) else {
            let what = "say in KERNELS in xtask/src/ct/kernels.rs how it is called";
            findings.violations.insert(format!("{name}: {what}"));
            continue;
        };
        for numbers in kernel.2 {
            match program.run(function, kernel, numbers, &mut findings.violations) {
                Ok((run, End::Returned)) => findings.runs.push(run),
                Ok((run, End::Called(what))) => {
                    findings.violations.insert(format!("{}: calls {what}", run.name));
                }
                Ok((run, End::Endless)) => {
                    findings.violations.insert(format!("{}: does not end", run.name));
                }
                Err(error) => {
                    findings.violations.insert(format!("{name}: {error:#}"));
                }
            }
        }
        program.run_the_rest(name, &mut findings.violations);
    }
    for function in &functions {
        program.look_at_all(function, &mut findings);
    }
    ensure!(!findings.runs.is_empty(), "{module} has no kernels");
    Ok(findings)
}

/// The kernels that are not among the runs: a check must not pass because there was nothing to see.
pub fn not_run(runs: &[Run]) -> Vec<&'static str> {
    let ran = |name: &str| runs.iter().any(|run| run.name.split('(').next() == Some(name));
    KERNELS.iter().map(|kernel| kernel.0).filter(|name| !ran(name)).collect()
}

struct Program<'a> {
    instructions: BTreeMap<u64, &'a Instruction>,
    architecture: &'a Architecture,
    /// The instructions that are not the first of a function.
    inside: BTreeSet<u64>,
    /// Words of the image that hold the addresses of routines, with their names.
    routines: BTreeMap<u64, &'a str>,
    /// Where runs have been.
    reached: BTreeSet<u64>,
    /// Sides of branches that were not taken, and how it was there.
    aside: BTreeMap<u64, Machine>,
}

impl<'a> Program<'a> {
    fn new(functions: &'a [Function], architecture: &'a Architecture) -> Self {
        let all = functions.iter().flat_map(|function| &function.code);
        let inside = functions.iter().flat_map(|function| function.code.iter().skip(1));
        let inside = inside.map(|instruction| instruction.at).collect();
        let instructions: BTreeMap<_, _> = all.map(|one| (one.at, one)).collect();
        let routines = instructions.values().filter_map(|instruction| {
            let is_place = |operand: &&Operand| {
                matches!(operand, Operand::Memory(Memory { base: None, index: None, .. }))
            };
            let Some(Operand::Memory(memory)) = instruction.operands.iter().find(is_place) else {
                return None;
            };
            Some((memory.offset, symbol(instruction)))
        });
        let routines = routines.filter(|(_, name)| MEMORY_ROUTINES.contains(name)).collect();
        Self {
            instructions,
            architecture,
            inside,
            routines,
            reached: BTreeSet::new(),
            aside: BTreeMap::new(),
        }
    }

    /// Runs a kernel from its first instruction on.
    fn run(
        &mut self,
        function: &Function,
        &(name, signature, _): &Kernel,
        numbers: &[u64],
        violations: &mut BTreeSet<String>,
    ) -> Result<(Run, End)> {
        let Architecture { stack_pointer, stack_alignment, .. } = *self.architecture;
        let mut machine = Machine::new(stack_pointer, stack_alignment);
        machine.routines = self.routines.keys().copied().collect();
        machine.keeps_all = REJECTING.contains(&name);
        let mut given = numbers.iter();
        let mut number = || given.next().copied().context("KERNELS: too few numbers");
        for (i, kind) in signature.iter().enumerate() {
            let value = match *kind {
                Secrets => Value::Known(argument(i)),
                Slices => {
                    for (slice, at) in [(1, 0), (2, 16)] {
                        machine.put(argument(i) + at, Value::Known(argument(i) + slice * SLICE));
                        machine.put(argument(i) + at + 8, Value::Known(number()?));
                    }
                    Value::Known(argument(i))
                }
                Blocks => {
                    for block in 0..SPONGES {
                        let place = Value::Known(argument(i) + (block + 1) * SLICE);
                        machine.put(argument(i) + 8 * block, place);
                    }
                    Value::Known(argument(i))
                }
                Numbers => {
                    for at in [0, 8] {
                        machine.put(argument(i) + at, Value::Known(number()?));
                    }
                    Value::Known(argument(i))
                }
                Constants => {
                    machine.constants.push(argument(i));
                    Value::Known(argument(i))
                }
                Constant => Value::Public,
                Number => Value::Known(number()?),
            };
            match self.architecture.arguments.get(i) {
                Some(&register) => machine.set(register, value),
                None => machine.put_on_stack(i - self.architecture.arguments.len(), value),
            }
        }
        let mut run = Run { name: name.to_owned(), ..Run::default() };
        if !numbers.is_empty() {
            let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
            run.name += &format!("({})", numbers.join(", "));
        }
        let start = function.code.first().context("it is empty")?.at;
        let end = self.follow(&mut machine, start, &mut run)?;
        violations.extend(machine.leaks.iter().map(|leak| format!("{name}: {leak}")));
        run.notes.extend(machine.notes);
        if machine.selections > 0 {
            run.notes.insert(format!("{} selections by a secret", machine.selections));
        }
        Ok((run, end))
    }

    /// Compilers write code for lengths that are never passed. Goes the other way once at every
    /// branch: whatever it then computes and however it ends, no secret may decide.
    fn run_the_rest(&mut self, name: &str, violations: &mut BTreeSet<String>) {
        while let Some((at, mut machine)) = self.aside.pop_first() {
            if !self.reached.contains(&at) {
                let mut run = Run::default();
                if let Err(error) = self.follow(&mut machine, at, &mut run) {
                    violations.insert(format!("{name}: {error:#}"));
                }
                violations.extend(machine.leaks.iter().map(|leak| format!("{name}: {leak}")));
            }
        }
    }

    /// Goes on from an instruction to the end.
    fn follow(&mut self, machine: &mut Machine, start: u64, run: &mut Run) -> Result<End> {
        let Architecture { step, is_call, returns_here, volatile, is_branch, .. } =
            *self.architecture;
        let mut at = start;
        loop {
            let mut rest = self.instructions.range(at..);
            let Some((_, &instruction)) = rest.next().filter(|(found, _)| **found == at) else {
                bail!("goes to {at:x}, which is not in a kernel");
            };
            let behind = rest.next().map(|(behind, _)| *behind);
            self.reached.insert(at);
            run.counts.add(instruction, self.architecture);
            if run.counts.all() > MOST_STEPS {
                return Ok(End::Endless);
            }
            let next = if is_call(instruction) {
                Next::Leave
            } else {
                match step(machine, instruction)? {
                    Next::Jump(to) if !self.instructions.contains_key(&to) => Next::Leave,
                    next => next,
                }
            };
            if let Next::Leave = next {
                let name = self.callee(machine, instruction);
                if MEMORY_ROUTINES.contains(&name) {
                    run.notes.insert(format!("{name}, whose instructions are not counted"));
                    self.call(machine, instruction, name)?;
                } else if !run.name.is_empty() {
                    return Ok(End::Called(format!("{name} at {at:x}")));
                }
            }
            let next = match next {
                // A jump there returns from there.
                Next::Leave if !returns_here(instruction) => Next::Return,
                Next::Leave if !behind.is_some_and(|behind| self.inside.contains(&behind)) => {
                    Next::Return
                }
                Next::Leave => {
                    for &index in volatile {
                        machine.set(index, Value::Secret);
                    }
                    Next::Follow
                }
                next => next,
            };
            let target = match instruction.operands.last() {
                Some(Operand::Number(target)) if is_branch(instruction) => Some(*target),
                _ => None,
            };
            let (to, other) = match next {
                Next::Return | Next::Leave => return Ok(End::Returned),
                Next::Follow => (behind, target),
                Next::Jump(to) => (Some(to), target.and(behind)),
                Next::Either(_) if run.name.is_empty() => (behind, target),
                Next::Either(_) => {
                    bail!("{at:x}: {}: cannot tell which way", instruction.text)
                }
            };
            if let Some(other) = other.filter(|other| !self.reached.contains(other)) {
                self.aside.entry(other).or_insert_with(|| machine.clone());
            }
            at = to.context("runs off its end")?;
        }
    }

    /// The name of the routine that is called, as far as it is known.
    fn callee(&self, machine: &Machine, instruction: &'a Instruction) -> &'a str {
        if let [Operand::Register(register)] = instruction.operands[..]
            && let Value::Known(place) = machine.read(register)
        {
            return self.routines.get(&place).copied().unwrap_or_default();
        }
        symbol(instruction)
    }

    /// A routine of the C library for memory. Its time depends on addresses and length alone.
    fn call(&self, machine: &mut Machine, instruction: &Instruction, name: &str) -> Result<()> {
        let &[to, from, len, ..] = self.architecture.arguments else { bail!("no arguments") };
        let [to, from, len] = [to, from, len].map(|index| machine.register(index));
        for value in [to, len].into_iter().chain((name != "memset").then_some(from)) {
            if value == Value::Secret {
                machine.leak(instruction, "is given a secret address or length");
            }
        }
        if let Value::Known(len) = len {
            machine.store(instruction, to, u32::try_from(len)?, Value::Secret)?;
        }
        Ok(())
    }

    /// What may not be there at all, and what no run came to.
    fn look_at_all(&self, function: &Function, findings: &mut Findings) {
        let name = &function.symbol;
        findings.size += function.code.len();
        let mut after_reached = true;
        for instruction in &function.code {
            let Instruction { at, text, .. } = instruction;
            if let Some(what) = (self.architecture.refused)(instruction) {
                findings.violations.insert(format!("{name}: {at:x}: {text}: {what}"));
            }
            let is_reached =
                self.reached.contains(at) || (self.architecture.is_padding)(instruction);
            if !is_reached && after_reached {
                let what = "no run of xtask/src/ct/kernels.rs comes here";
                findings.violations.insert(format!("{name}: {at:x}: {text}: {what}"));
            }
            after_reached = is_reached;
        }
    }
}

/// The name beside an address in the listing.
fn symbol(instruction: &Instruction) -> &str {
    instruction.symbol.as_deref().unwrap_or_default().split('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listing of functions: their names and their instructions, four bytes each from 0x1000 on.
    fn listing(functions: &[(&str, &str)]) -> String {
        let mut text = String::new();
        let mut at = 0x1000;
        for (name, code) in functions {
            text += &format!("\n{at:016x} <{name}>:\n");
            for line in code.trim().lines() {
                text += &format!("    {at:x}:\t{}\n", line.trim());
                at += 4;
            }
        }
        text
    }

    fn violations(functions: &[(&str, &str)], architecture: &Architecture) -> Vec<String> {
        let findings = examine(&listing(functions), "m", architecture).unwrap();
        findings.violations.into_iter().collect()
    }

    #[track_caller]
    fn refuses(code: &str, why: &str, architecture: &Architecture) {
        let ends_well = ("m::negate", "ret");
        let found = violations(&[("m::mul", code), ends_well], architecture);
        assert!(found.iter().any(|found| found.contains(why)), "{why} not in {found:#?}");
    }

    #[track_caller]
    fn accepts(code: &str, architecture: &Architecture) {
        assert_eq!(violations(&[("m::mul", code)], architecture), [""; 0]);
    }

    /// A kernel as they are: constants from the plan, a counted loop; in a function of its own.
    const X86: [(&str, &str); 2] = [
        ("m::negate", "jmp    1004 <m::negate::negate>"),
        (
            "m::negate::negate",
            "mov    eax,DWORD PTR [rsi+0x8000]
             vpbroadcastd zmm0,eax
             xor    eax,eax
             vpsubd zmm1,zmm0,ZMMWORD PTR [rdi+rax*4]
             vpmuludq zmm1,zmm1,zmm1
             vmovdqa64 ZMMWORD PTR [rdi+rax*4],zmm1
             add    rax,0x10
             cmp    rax,0x1000
             jne    1010 <m::negate::negate+0xc>
             vzeroupper
             ret
             int3",
        ),
    ];

    const ARM: [(&str, &str); 1] = [(
        "m::negate",
        "add    x8, x1, #0x8, lsl #12
         ld1r   {v0.4s}, [x8]
         mov    x8, xzr
         ldp    q1, q2, [x0, x8]
         sub    v1.4s, v0.4s, v1.4s
         mul    v1.4s, v1.4s, v0.s[0]
         str    q1, [x0, x8]
         add    x8, x8, #0x20
         cmp    x8, #0x4, lsl #12
         b.ne   100c <m::negate+0xc>  // b.any
         ret",
    )];

    #[test]
    fn a_counted_loop_is_run_to_its_end_and_counted() {
        let findings = examine(&listing(&X86), "m", &X86_64).unwrap();
        assert!(findings.violations.is_empty(), "{:?}", findings.violations);
        let [run] = findings.runs.as_slice() else { panic!("one kernel, one run") };
        let expected = Counts {
            multiplies: 256,
            shuffles: 1,
            moves: 256,
            other_vector: 256,
            scalar: 5 + 2 * 256,
            branches: 256,
            loads: 257,
            stores: 256,
        };
        assert_eq!((run.name.as_str(), run.counts), ("negate", expected));

        let findings = examine(&listing(&ARM), "m", &AARCH64).unwrap();
        assert!(findings.violations.is_empty(), "{:?}", findings.violations);
        let expected = Counts {
            multiplies: 512,
            shuffles: 0,
            moves: 1 + 2 * 512,
            other_vector: 512,
            scalar: 3 + 2 * 512,
            branches: 512,
            loads: 1 + 2 * 512,
            stores: 512,
        };
        assert_eq!(findings.runs[0].counts, expected);
    }

    #[test]
    fn secrets_on_x86_64_decide_nothing() {
        let branch = "branches on a secret";
        refuses("mov eax,DWORD PTR [rdi]\ntest eax,eax\nje 1010\nnop\nret", branch, &X86_64);
        refuses("kmovw eax,k1\ncmp eax,0x3\njb 1010\nnop\nret", branch, &X86_64);
        refuses("vmovd eax,xmm1\ndec eax\njne 1000\nret", branch, &X86_64);
        refuses("kortestw k1,k1\njb 1008\nret", branch, &X86_64);
        refuses("vptest ymm0,ymm0\nje 1008\nret", branch, &X86_64);
        // By way of the stack.
        let spilled = "vmovdqu XMMWORD PTR [rsp-0x20],xmm0\nmov rax,QWORD PTR [rsp-0x18]\n\
                       cmp rax,0x1\nje 1010\nret";
        refuses(spilled, branch, &X86_64);
        let address = "an address made of secrets";
        refuses("movzx eax,BYTE PTR [rdi]\nmov eax,DWORD PTR [rsi+rax*4]\nret", address, &X86_64);
        refuses("vmovq rax,xmm0\nvmovdqu YMMWORD PTR [rdi+rax*1],ymm1\nret", address, &X86_64);
        refuses("mov eax,DWORD PTR [rdi]\nxor edx,edx\ndiv ecx\nret", "divides", &X86_64);
        refuses("vdivpd zmm0,zmm0,zmm1\nret", "divides", &X86_64);
        refuses("vpgatherdd zmm5{k2},DWORD PTR [rax+zmm3*1]\nret", "gathers", &X86_64);
        refuses("vpscatterdd DWORD PTR [rdi+zmm1*4]{k1},zmm0\nret", "scatters", &X86_64);
        refuses("call 2000 <m2::helper>\nret", "calls m2::helper", &X86_64);
        refuses("jmp rax", "jumps to an address in a register", &X86_64);
        refuses("jmp 2000 <m2::helper>", "calls m2::helper", &X86_64);
        refuses("xor eax,eax\ninc eax\njne 1004\nret", "does not end", &X86_64);
        refuses("ret\nadd eax,eax\nret", "no run", &X86_64);
        refuses("fsin\nret", "teach", &X86_64);
        let memset = "mov edx,DWORD PTR [rdi]\n\
                      call QWORD PTR [rip+0x1000]        # 3000 <memset@GLIBC_2.2.5>\nret";
        refuses(memset, "secret address or length", &X86_64);
        // On the side that is not taken.
        let other = "xor eax,eax\njne 100c\nret\nmov ecx,DWORD PTR [rdi]\ncmp ecx,0x2\n\
                     je 1018\nret";
        refuses(other, branch, &X86_64);
    }

    #[test]
    fn what_is_public_may_decide_on_x86_64() {
        accepts("mov ecx,0x20\nadd ecx,0xffffffff\njne 1004\nret", &X86_64);
        accepts("lea rax,[rdi+0x100]\nadd rdi,0x10\ncmp rdi,rax\njb 1004\nret", &X86_64);
        accepts(
            "push rbx\nmov ebx,0x5\npush rbx\npop rax\ndec eax\njne 1010\npop rbx\nret",
            &X86_64,
        );
        // A byte of a register of which more is not known.
        accepts("mov eax,DWORD PTR [rdi]\nxor ecx,ecx\nsetne al\nor cl,al\nje 1014\nret", &X86_64);
        // Constant time: selected, not branched.
        accepts(
            "mov eax,DWORD PTR [rdi]\ntest eax,eax\ncmovs eax,ecx\nmov DWORD PTR [rdi],eax\nret",
            &X86_64,
        );
        accepts("mov rax,QWORD PTR [rcx+0x8]\nvmovdqu ymm0,YMMWORD PTR [rax]\nret", &X86_64);
        let memset = "mov edx,0x400\n\
                      call QWORD PTR [rip+0x1000]        # 3000 <memset@GLIBC_2.2.5>\nret";
        accepts(memset, &X86_64);
        let through = "mov r13,QWORD PTR [rip+0x1000]        # 3000 <memset@GLIBC_2.2.5>\n\
                       mov edx,0x400\ncall r13\nret";
        accepts(through, &X86_64);
    }

    #[test]
    fn secrets_on_arm_decide_nothing() {
        let branch = "branches on a secret";
        refuses("ldr w8, [x0]\ncbz w8, 100c\nnop\nret", branch, &AARCH64);
        refuses("umov w8, v0.b[0]\ntbnz w8, #0, 100c\nnop\nret", branch, &AARCH64);
        refuses("fmov x8, d0\nsubs x8, x8, #0x1\nb.ne 1004\nret", branch, &AARCH64);
        refuses("fcmp d0, d1\nb.gt 1008\nret", branch, &AARCH64);
        refuses(
            "str q0, [sp, #16]\nldr x8, [sp, #24]\ncmp x8, x9\nb.eq 1010\nret",
            branch,
            &AARCH64,
        );
        let address = "an address made of secrets";
        refuses("ldrb w8, [x0]\nldr w9, [x1, w8, uxtw #2]\nret", address, &AARCH64);
        refuses(
            "mov w8, v20.s[1]\nadd x9, x0, w8, uxtw #2\nst1 {v0.s}[1], [x9]\nret",
            address,
            &AARCH64,
        );
        refuses("ldr w8, [x0]\nudiv w8, w8, w9\nret", "divides", &AARCH64);
        refuses("fdiv v0.4s, v1.4s, v2.4s\nret", "divides", &AARCH64);
        refuses("bl 2000 <m2::helper>\nret", "calls m2::helper", &AARCH64);
        refuses("br x8", "jumps to an address in a register", &AARCH64);
        refuses("ret\nadd x8, x8, x8\nret", "no run", &AARCH64);
    }

    #[test]
    fn what_is_public_may_decide_on_arm() {
        accepts("mov w8, #0x20\nsubs w8, w8, #0x1\nb.ne 1004\nret", &AARCH64);
        accepts(
            "add x8, x0, #0x1, lsl #12\nldr q0, [x0], #16\ncmp x0, x8\nb.cc 1004\nret",
            &AARCH64,
        );
        accepts(
            "stp x19, x20, [sp, #-16]!\nmov w19, #0x3\nstr w19, [sp, #8]\nldr w8, [sp, #8]\n\
                 sub w8, w8, #0x1\ncbnz w8, 1010\nldp x19, x20, [sp], #16\nret",
            &AARCH64,
        );
        accepts("ldr w8, [x0]\ncmp w8, #0x0\ncsel w8, w8, w9, lt\nstr w8, [x0]\nret", &AARCH64);
        accepts("mov w2, #0x400\nbl 2000 <memset@plt>\nret", &AARCH64);
    }

    #[test]
    fn kernels_are_known_by_name() {
        let found = violations(&[("m::negate", "ret"), ("m::newcomer", "ret")], &X86_64);
        assert!(
            found.iter().any(|found| found.starts_with("newcomer: say in KERNELS")),
            "{found:?}"
        );
        assert!(examine(&listing(&[("other::negate", "ret")]), "m", &X86_64).is_err());
    }

    #[test]
    fn arguments_come_in_registers_in_memory_and_on_the_stack() {
        // The eighth counts a loop; the seventh points to constants.
        let numbers = "mov rax,QWORD PTR [rsp+0x10]\nmov rcx,QWORD PTR [rsp+0x8]\n\
                       mov rcx,QWORD PTR [rcx]\ndec rax\njne 1004\nret";
        assert_eq!(violations(&[("m::convert", numbers)], &X86_64), [""; 0]);
        let numbers = "ldr x8, [x6]\nsubs x7, x7, #0x1\nb.ne 1000\nret";
        assert_eq!(violations(&[("m::convert", numbers)], &AARCH64), [""; 0]);
        // A length of a slice, and a number, decide; a word of the slice may not.
        let slices = "mov rax,QWORD PTR [rsi+0x8]\ndec rax\njne 1004\nmov rax,QWORD PTR [rdx]\n\
                      dec rax\njne 1010\nret";
        assert_eq!(violations(&[("m::dot_acc", slices)], &X86_64), [""; 0]);
        let word = "mov rax,QWORD PTR [rsi]\nmov eax,DWORD PTR [rax]\ntest eax,eax\nje 1000\nret";
        let found = violations(&[("m::dot_acc", word), ("m::negate", "ret")], &X86_64);
        assert!(found.iter().any(|found| found.contains("branches on a secret")), "{found:?}");
    }

    #[test]
    fn rejection_may_choose_where_samples_go() {
        let code = "vpcmpud k1,zmm0,zmm1,0x1\nvpcompressd zmm2{k1}{z},zmm0\nkmovw eax,k1\n\
                    vmovdqu64 ZMMWORD PTR [rdi+rax*4],zmm2\nret";
        assert_eq!(violations(&[("m::ternary", code)], &X86_64), [""; 0]);
        refuses(code, "an address made of secrets", &X86_64);
        // What is read from the keystream stays secret there too.
        let code = "mov eax,DWORD PTR [rdx]\nmov ecx,DWORD PTR [rdi+rax*4]\nret";
        assert_eq!(violations(&[("m::ternary", code)], &X86_64).len(), 1);
    }
}
