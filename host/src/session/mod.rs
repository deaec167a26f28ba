//! Sessions
mod admit;
mod channel;
mod client;
mod clock;
pub mod device;
pub mod frame;
mod generator;
mod handshake;
pub mod message;
mod refusal;
mod schedule;
mod seal;
mod server;
mod table;
mod ticket;

pub use admit::{Admit, Admitted, Refused};
pub use channel::{Channel, Kind, RECORD_OVERHEAD};
pub use client::{
    Asked as AskedClient, Begun, Client, Greeted, MAX_KEY_AGE, Next, Resuming, Resumption,
};
pub use device::DeviceKey;
pub use message::{
    ASK_SIZE, BEGIN_SIZE, HELLO_SIZE, MAX_MESSAGE, OFFER_SIZE, Presented, REFUSED_SIZE,
    RESUME_SIZE, RESUMED_SIZE, WELCOME_SIZE, Welcome,
};
pub use refusal::Refusal;
pub use seal::{MAX_RECORDS, TAG};
pub use server::{Asked, Counts, Epochs, KEY_KIND, Offered, Server, Session, Settings, Step};
pub use table::{MAX_SESSIONS, SessionId};
pub use ticket::TICKET_SIZE;

/// Version of the protocol.
pub const VERSION: u8 = 1;

/// The most bytes of what a client presents.
pub const MAX_PRESENTED: usize = 64 << 10;

/// The most bytes of a record's message.
pub const MAX_RECORD: usize = 64 << 10;
