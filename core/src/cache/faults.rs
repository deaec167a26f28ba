//! What a model breaks on purpose, to see that it would notice.
#![cfg_attr(loom, allow(missing_docs))]

use super::count::Shard;
use crate::primitive::atomic::Ordering;

/// Mistakes to make. Outside of models there is none to choose, and this is nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A reader does not look again whether what it read was changed.
    #[cfg(loom)]
    pub no_second_look: bool,
    /// A verdict is published without what belongs to it.
    #[cfg(loom)]
    pub weak_order: bool,
    /// A writer publishes though it was cancelled.
    #[cfg(loom)]
    pub no_cancellation: bool,
    /// A writer does not look whether there was a removal since its ticket.
    #[cfg(loom)]
    pub no_ticket_check: bool,
    /// A writer leaves other verdicts for its digest alone.
    #[cfg(loom)]
    pub keep_doubles: bool,
    /// A writer takes an entry without asking whether another has it.
    #[cfg(loom)]
    pub no_claim: bool,
    /// The counters that many share are lent to one as its own as well.
    #[cfg(loom)]
    pub last_lent: bool,
}

macro_rules! unless {
    ($fault:ident, $self:ident, $broken:expr, $sound:expr) => {{
        #[cfg(loom)]
        if $self.$fault {
            return $broken;
        }
        let _ = $self;
        $sound
    }};
}

impl Faults {
    /// The code as it stands.
    pub const NONE: Self = Self {
        #[cfg(loom)]
        no_second_look: false,
        #[cfg(loom)]
        weak_order: false,
        #[cfg(loom)]
        no_cancellation: false,
        #[cfg(loom)]
        no_ticket_check: false,
        #[cfg(loom)]
        keep_doubles: false,
        #[cfg(loom)]
        no_claim: false,
        #[cfg(loom)]
        last_lent: false,
    };

    pub(super) const fn checks_twice(self) -> bool {
        unless!(no_second_look, self, false, true)
    }

    pub(super) const fn observe(self) -> Ordering {
        unless!(weak_order, self, Ordering::Relaxed, Ordering::Acquire)
    }

    pub(super) const fn publish(self) -> Ordering {
        unless!(weak_order, self, Ordering::Relaxed, Ordering::Release)
    }

    pub(super) const fn heeds_cancellation(self) -> bool {
        unless!(no_cancellation, self, false, true)
    }

    pub(super) const fn checks_tickets(self) -> bool {
        unless!(no_ticket_check, self, false, true)
    }

    pub(super) const fn ends_doubles(self) -> bool {
        unless!(keep_doubles, self, false, true)
    }

    pub(super) const fn claims_alone(self) -> bool {
        unless!(no_claim, self, false, true)
    }

    /// Those that one handle at a time may have to itself.
    pub(super) fn lent(self, shards: &[Shard]) -> &[Shard] {
        let all_but_last = shards.split_last().map(|(_, own)| own).unwrap_or_default();
        unless!(last_lent, self, shards, all_but_last)
    }
}
