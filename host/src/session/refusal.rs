//! Why a session is refused: small, `Copy`, nothing secret in it, and one byte on the wire.

use crate::error::{Error, Kind};
use std::fmt;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident, $code:literal, $kind:ident, $text:literal;)+) => {
        /// Why a message, a record or a ticket was refused.
        ///
        /// Codes are part of the protocol: a code is never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Refusal {
            $($(#[$doc])* $name = $code,)+
        }

        impl Refusal {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The error's kind: `E-TICKET` for what a full handshake mends, else `E-SESSION`.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)+ }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

refusals! {
    /// Bytes that are no message of this kind.
    Malformed, 1, Session, "the message is malformed";
    /// Another version of the protocol.
    Version, 2, Session, "the protocol's version is not one that is spoken here";
    /// No certified key is ready: try again in a moment.
    Busy, 3, Session, "no key is ready: try again";
    /// Every place of the session table holds a live session.
    Full, 4, Session, "there is no room for another session";
    /// What is sealed does not open: altered, replayed, or sealed for somebody else.
    Unauthentic, 5, Session, "the message is not authentic";
    /// The device's signature does not verify.
    Device, 6, Session, "the device's signature is wrong";
    /// The identity presented is refused.
    Identity, 7, Session, "the identity is refused";
    /// Policy or identities changed during the handshake.
    Changed, 8, Session, "the deployment's epoch changed during the handshake";
    /// A channel's limit on records or on their size.
    Limit, 9, Session, "a limit of the channel is reached";
    /// The channel is closed: a record failed, or one side ended it.
    Closed, 10, Session, "the channel is closed";
    /// The server's certificate, or the key that comes with it, does not verify.
    Certificate, 11, Session, "the server's certificate does not verify";
    /// The server could not go on: entropy or memory are missing.
    Internal, 12, Session, "the server is in trouble";
    /// The ticket does not open: not one of this server's, or of a key that is gone.
    Ticket, 32, Ticket, "the ticket is not one that opens here";
    /// The binder is wrong: whoever sends the ticket does not hold its secret, or is another device.
    Binder, 33, Ticket, "the ticket's sender does not hold its secret";
    /// The session is over by its time.
    Expired, 34, Ticket, "the session has expired";
    /// The ticket has been used.
    Spent, 35, Ticket, "the ticket has been used";
    /// The session was ended, or its place has another by now.
    Revoked, 36, Ticket, "the session was revoked";
    /// The policy or the identities are of another epoch than the session's.
    Epoch, 37, Ticket, "the deployment's epoch is no longer the session's";
    /// The client is of another version than the one that made the session.
    Client, 38, Ticket, "the client's version is not the session's";
    /// The session was resumed as often as it may.
    Worn, 39, Ticket, "the session was resumed as often as it may be";
}

impl Refusal {
    /// The byte on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Inverse of [`code`](Self::code).
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|refusal| refusal.code() == code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind(), refusal.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_code(refusal.code()), Some(*refusal));
        }
        let known = (0..=u8::MAX).filter_map(Refusal::from_code).count();
        assert_eq!(known, Refusal::ALL.len());
    }
}
