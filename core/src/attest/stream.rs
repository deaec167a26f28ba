use super::codec::Reader;
use super::receipt::{Head, MAX_HEAD};
use super::window::check_id;
use super::{Batch, Error, Family, KeySet, Leaf, Result, Verify, Window};

/// Working memory of a [`StreamVerifier`]: the longest signature with its identifier. A microcontroller
/// has one in a static.
pub type StreamBuffer = [u8; 1 + Family::SlhDsaSha2_128f.signature_size()];

// The buffer holds whatever has to be whole before it can be checked.
const _: () = {
    let size = size_of::<StreamBuffer>();
    assert!(size >= MAX_HEAD && size > Family::MlDsa65.signature_size());
    assert!(size > Family::FnDsa512Draft.signature_size());
};

/// What a receipt proves: the decision, and the statements that a relying party has to compare with
/// what it asked (see [`Receipt::verify`](super::Receipt::verify)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The decision.
    pub leaf: Leaf,
    /// Its setting.
    pub batch: Batch,
    /// What was signed.
    pub window: Window,
}

/// Verifies a receipt that comes in pieces of any size, in fixed memory: 17 KB for the longest
/// signature, and three quarters of a kilobyte. Each part is checked as soon as it is whole, so a false receipt is
/// refused without waiting for its end.
///
/// The verdict is that of [`Receipt::decode_exact`](super::Receipt::decode_exact) and
/// [`Receipt::verify`](super::Receipt::verify), and so is the error of a receipt that is well formed.
/// Where the one has several faults, this reports the first that comes by: a wrong path, say, before an
/// unknown algorithm after it.
///
/// ```
/// # use symbolon_core::attest::{Error, KeySet, Proven, Result, StreamBuffer, StreamVerifier, Verify};
/// # fn receive(_: &mut [u8]) -> usize { 0 }
/// fn check<M: Verify, F: Verify, S: Verify>(keys: &KeySet<M, F, S>) -> Result<Proven> {
///     let mut buffer: StreamBuffer = [0; size_of::<StreamBuffer>()];
///     let mut verifier = StreamVerifier::new(keys, &mut buffer);
///     let mut piece = [0; 64];
///     loop {
///         match receive(&mut piece) {
///             0 => return verifier.finish(),
///             size => verifier.push(&piece[..size])?,
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct StreamVerifier<'a, M: Verify, F: Verify, S: Verify> {
    keys: &'a KeySet<M, F, S>,
    /// The part that is being collected.
    buffer: &'a mut StreamBuffer,
    /// Bytes of it that are there.
    held: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Everything before the signatures.
    Head,
    /// The signature of this family, with its identifier.
    Signature(Family, Proven),
    /// All of it is there and true.
    Done(Proven),
    Failed(Error),
}

impl<'a, M: Verify, F: Verify, S: Verify> StreamVerifier<'a, M, F, S> {
    /// A verifier that waits for the first byte of a receipt. What is in `buffer` does not matter.
    pub const fn new(keys: &'a KeySet<M, F, S>, buffer: &'a mut StreamBuffer) -> Self {
        Self { keys, buffer, held: 0, state: State::Head }
    }

    /// Takes the next bytes of a receipt that is to be the whole of the input.
    ///
    /// # Errors
    /// Those of [`Receipt::decode_exact`](super::Receipt::decode_exact) but [`Error::Truncated`], and
    /// of [`Receipt::verify`](super::Receipt::verify). After an error, every further call and
    /// [`finish`](Self::finish) give it again.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if self.push_some(bytes)? != bytes.len() {
            self.state = State::Failed(Error::TrailingBytes);
            return Err(Error::TrailingBytes);
        }
        Ok(())
    }

    /// Takes the next bytes of a receipt that others may follow, and returns how many of them belong
    /// to it: all, until it is whole.
    ///
    /// # Errors
    /// As [`push`](Self::push), but for [`Error::TrailingBytes`].
    pub fn push_some(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut rest = bytes;
        loop {
            match self.step(rest) {
                // No part was completed: there is nothing left to take, or nothing to take it for.
                Ok((taken, false)) => {
                    rest = rest.get(taken..).unwrap_or_default();
                    return Ok(bytes.len() - rest.len());
                }
                Ok((taken, true)) => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            }
        }
    }

    /// Ends the receipt and gives the verdict: what it proves. The verifier then waits for
    /// the first byte of another.
    ///
    /// # Errors
    /// [`Error::Truncated`] if bytes are missing, or the error that was met before.
    pub fn finish(&mut self) -> Result<Proven> {
        self.held = 0;
        match core::mem::replace(&mut self.state, State::Head) {
            State::Done(proven) => Ok(proven),
            State::Failed(error) => Err(error),
            State::Head | State::Signature(..) => Err(Error::Truncated),
        }
    }

    /// Takes bytes for the part that is being collected. Returns how many, and whether the part is
    /// complete, checked, and the next one's turn.
    fn step(&mut self, bytes: &[u8]) -> Result<(usize, bool)> {
        match self.state {
            State::Failed(error) => Err(error),
            State::Done(_) => Ok((0, false)),
            State::Head => {
                let before = self.held;
                let taken = self.collect(bytes, MAX_HEAD);
                // A head that lacks bytes is read from its beginning each time: at most a kilobyte.
                let held = self.buffer.get(..self.held).unwrap_or_default();
                let mut reader = Reader::new(held);
                let head = match Head::decode(&mut reader) {
                    Err(Error::Truncated) if self.held < MAX_HEAD => return Ok((taken, false)),
                    head => head?,
                };
                // Without the last `taken` bytes it lacked some, so its end is among them.
                let used = (held.len() - reader.remaining()).saturating_sub(before);
                head.verify(self.keys)?;
                let proven = Proven { leaf: head.leaf, batch: head.batch, window: head.window };
                self.begin(State::Signature(Family::MlDsa65, proven));
                Ok((used, true))
            }
            State::Signature(family, proven) => {
                let size = 1 + family.signature_size();
                let taken = self.collect(bytes, size);
                let held = self.buffer.get(..self.held).unwrap_or_default();
                let Some((&id, signature)) = held.split_first() else {
                    return Ok((taken, false));
                };
                check_id(id, family)?;
                if self.held < size {
                    return Ok((taken, false));
                }
                self.keys.verify(family, Window::CONTEXT, &proven.window.encode(), signature)?;
                self.begin(match family {
                    Family::MlDsa65 => State::Signature(Family::FnDsa512Draft, proven),
                    Family::FnDsa512Draft => State::Signature(Family::SlhDsaSha2_128f, proven),
                    Family::SlhDsaSha2_128f => State::Done(proven),
                });
                Ok((taken, true))
            }
        }
    }

    /// Copies to the buffer what there is of `bytes` until `size` are held; returns how many it took.
    fn collect(&mut self, bytes: &[u8], size: usize) -> usize {
        let room = self.buffer.get_mut(self.held..size).unwrap_or_default();
        let taken = room.len().min(bytes.len());
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.held += taken;
        taken
    }

    fn begin(&mut self, state: State) {
        self.held = 0;
        self.state = state;
    }
}
