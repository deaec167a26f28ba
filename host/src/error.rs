//! One error type for the whole host: a stable code, one line that says where, an exit code.
//!
//! Codes are part of the command-line interface: a code is never renamed or reused. No message
//! carries a secret: embedding values, scores and keys are left out, places (file, row, field)
//! are named instead.

use std::fmt;
use std::io;
use std::path::Path;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// `Result` with the host's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $code:literal, $exit:literal;)+) => {
        /// What went wrong. The code and the exit status are fixed by the kind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)+];

            /// The stable code, such as `E-DIMENSION`.
            pub const fn code(self) -> &'static str {
                match self { $(Kind::$kind => $code,)+ }
            }

            /// The process's exit status: 1 = something does not verify, 2 = unusable input, 3 = wrong settings.
            pub const fn exit_code(self) -> u8 {
                match self { $(Kind::$kind => $exit,)+ }
            }
        }
    };
}

kinds! {
    /// A command-line argument is wrong, or two contradict each other.
    Argument, "E-ARGUMENT", 2;
    /// The operating system refused to open, read or write a file.
    Io, "E-IO", 2;
    /// The operating system gave no random bytes.
    Entropy, "E-ENTROPY", 2;
    /// A file's type or element type is not one that is read here.
    Format, "E-FORMAT", 2;
    /// A file's content does not follow its format.
    Parse, "E-PARSE", 2;
    /// The number of dimensions is 0, above 512, or differs from the store's or the other rows'.
    Dimension, "E-DIMENSION", 2;
    /// An embedding holds a NaN or an infinity.
    NotFinite, "E-NOT-FINITE", 2;
    /// An embedding is all zeros and so has no direction.
    ZeroVector, "E-ZERO-VECTOR", 2;
    /// There are not as many ids as embeddings.
    RowsIds, "E-ROWS-IDS", 2;
    /// An id is empty, longer than 256 bytes, not UTF-8 or holds a control character.
    Id, "E-ID", 2;
    /// An id stands where it must be unique.
    DuplicateId, "E-DUPLICATE-ID", 2;
    /// Nobody is enrolled under this id.
    UnknownId, "E-UNKNOWN-ID", 2;
    /// An id has no capture of the number asked for.
    Capture, "E-CAPTURE", 2;
    /// The threshold is outside the range of a cosine.
    Threshold, "E-THRESHOLD", 2;
    /// A directory holds no template store, one of another version, or a damaged one.
    StoreFormat, "E-STORE-FORMAT", 2;
    /// The store's key file is missing, readable by others, malformed, or another store's.
    StoreKey, "E-STORE-KEY", 2;
    /// A record of the store fails authentication: it was altered, swapped or damaged.
    StoreRecord, "E-STORE-RECORD", 2;
    /// Another process has the store open.
    StoreBusy, "E-STORE-BUSY", 2;
    /// A signing or verification key file is missing or malformed.
    KeyFile, "E-KEY-FILE", 2;
    /// No key set of a keyring has this id.
    UnknownKey, "E-UNKNOWN-KEY", 2;
    /// No signing key may sign at this time: all are retired, revoked or not yet valid.
    KeyValidity, "E-KEY-VALIDITY", 2;
    /// A signature could not be made.
    Signing, "E-SIGNING", 2;
    /// Keys cannot be made ahead: memory that cannot be locked, settings, a generator that fails.
    Pool, "E-POOL", 2;
    /// Too many requests wait: this one was not taken in.
    Busy, "E-BUSY", 2;
    /// The service is being drained: nothing is taken in any more.
    Draining, "E-DRAINING", 2;
    /// A request's deadline passed before it was decided.
    Deadline, "E-DEADLINE", 2;
    /// Something failed that cannot: a defect of Symbolon.
    Internal, "E-INTERNAL", 2;
    /// A directory holds no receipt log, one of another version or deployment, or a damaged one.
    LogFormat, "E-LOG-FORMAT", 2;
    /// Another process has the receipt log open.
    LogBusy, "E-LOG-BUSY", 2;
    /// The receipt log has no signed receipt of this request.
    UnknownRequest, "E-UNKNOWN-REQUEST", 2;
    /// A directory holds no identity registry, one of another version, or a damaged one.
    IdentitiesFormat, "E-IDENTITIES-FORMAT", 2;
    /// Another process has the identity registry open.
    IdentitiesBusy, "E-IDENTITIES-BUSY", 2;
    /// The identity registry has no room for another leaf or epoch.
    IdentitiesFull, "E-IDENTITIES-FULL", 2;
    /// A leaf is none: not eight field elements, or all of them zero.
    Leaf, "E-LEAF", 2;
    /// A leaf was enrolled before: each is used once.
    DuplicateLeaf, "E-DUPLICATE-LEAF", 2;
    /// An identity is enrolled, and no epoch has it yet.
    Unpublished, "E-UNPUBLISHED", 2;
    /// A credential file is missing, readable by others or malformed.
    Credential, "E-CREDENTIAL", 2;
    /// A credential's leaf is not where a path through the tree of identities begins, or the path does not
    /// lead to the root.
    Place, "E-PLACE", 2;
    /// A proof of identity could not be made.
    Proving, "E-PROVING", 2;
    /// A proof of identity is malformed.
    ProofFormat, "E-PROOF-FORMAT", 2;
    /// A proof of identity is well-formed and does not prove its statement.
    Proof, "E-PROOF", 1;
    /// No window signs this request's batch yet: its receipt comes within a moment.
    NotSigned, "E-NOT-SIGNED", 2;
    /// A setting is unknown or wrong, or two contradict each other: to start it anew changes nothing.
    Config, "E-CONFIG", 3;
    /// A request is not what this address takes: its form, its method, its media type.
    Request, "E-REQUEST", 2;
    /// A request's media type is not one that this address takes.
    MediaType, "E-MEDIA-TYPE", 2;
    /// A request's method is not one that this address has.
    Method, "E-METHOD", 2;
    /// There is nothing at this address.
    NoRoute, "E-NO-ROUTE", 2;
    /// A request is larger than what is taken.
    TooLarge, "E-TOO-LARGE", 2;
    /// A request did not arrive in time.
    Slow, "E-SLOW", 2;
    /// A request has no API key, or one that is unknown or revoked.
    ApiKey, "E-API-KEY", 2;
    /// An API key does not have the role that this takes.
    Role, "E-ROLE", 2;
    /// An API key is used more often than it may be.
    Rate, "E-RATE", 2;
    /// An identity had too many attempts that failed.
    Locked, "E-LOCKED", 2;
    /// An idempotency key was used for another request, or for one that is under way.
    Idempotency, "E-IDEMPOTENCY", 2;
    /// A receipt is malformed.
    ReceiptFormat, "E-RECEIPT-FORMAT", 2;
    /// A receipt is well-formed and does not verify.
    Receipt, "E-RECEIPT", 1;
    /// A receipt log is well-formed and its history does not verify.
    Log, "E-LOG", 1;
    /// The root that a proof is against does not hold: unknown, expired or withdrawn.
    Root, "E-ROOT", 1;
    /// Another proof of the same credential was presented in the same context.
    Nullifier, "E-NULLIFIER", 1;
    /// A session could not be made, or its channel failed: the other side is not who it says, or refused.
    Session, "E-SESSION", 1;
    /// A session cannot be resumed: its ticket is spent, expired, revoked or not one.
    Ticket, "E-TICKET", 1;
    /// A result differs from what an independent computation gives.
    Mismatch, "E-MISMATCH", 1;
}

/// A failure, with the place where it arose.
///
/// `Display` is one line, `CODE: file: row R (line L), field: message`. Rows count from 0, as numpy
/// counts them; lines of a text file count from 1, as editors do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
    file: Option<String>,
    row: Option<usize>,
    line: Option<usize>,
    field: Option<String>,
}

impl Error {
    /// An error with a message of one line. Characters that would break the line, or drive a
    /// terminal, are escaped.
    pub fn new(kind: Kind, message: impl AsRef<str>) -> Self {
        let message = one_line(message.as_ref());
        Self { kind, message, file: None, row: None, line: None, field: None }
    }

    /// A failed operation on a file: "cannot `action`: what the system said".
    pub fn io(path: &Path, action: &str, error: &io::Error) -> Self {
        Self::new(Kind::Io, format!("cannot {action}: {error}")).in_file(path.to_string_lossy())
    }

    /// Names the file.
    #[must_use]
    pub fn in_file(mut self, file: impl AsRef<str>) -> Self {
        self.file = Some(one_line(file.as_ref()));
        self
    }

    /// Names the row, counted from 0.
    #[must_use]
    pub fn at_row(mut self, row: usize) -> Self {
        self.row = Some(row);
        self
    }

    /// Names the line of a text file, counted from 1.
    #[must_use]
    pub fn at_line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// Names the field within the row.
    #[must_use]
    pub fn in_field(mut self, field: impl AsRef<str>) -> Self {
        self.field = Some(one_line(field.as_ref()));
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The stable code, such as `E-DIMENSION`.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// The process's exit status: 1 = something does not verify, 2 = unusable input, 3 = wrong settings.
    pub fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }

    /// The message without code or place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The file concerned, if one is.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The row concerned, counted from 0.
    pub fn row(&self) -> Option<usize> {
        self.row
    }

    /// The line concerned, counted from 1.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The field concerned.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The error as one line of JSON, `{"error":{"code","message","file","row","line","field"}}`;
    /// what is unknown is null.
    pub fn to_json(&self) -> String {
        serde_json::json!({ "error": self }).to_string()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code())?;
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        let place = match (self.row, self.line) {
            (Some(row), Some(line)) => Some(format!("row {row} (line {line})")),
            (Some(row), None) => Some(format!("row {row}")),
            (None, Some(line)) => Some(format!("line {line}")),
            (None, None) => None,
        };
        match (place, &self.field) {
            (Some(place), Some(field)) => write!(f, "{place}, {field}: ")?,
            (Some(place), None) => write!(f, "{place}: ")?,
            (None, Some(field)) => write!(f, "{field}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut error = serializer.serialize_struct("Error", 6)?;
        error.serialize_field("code", self.code())?;
        error.serialize_field("message", &self.message)?;
        error.serialize_field("file", &self.file)?;
        error.serialize_field("row", &self.row)?;
        error.serialize_field("line", &self.line)?;
        error.serialize_field("field", &self.field)?;
        error.end()
    }
}

fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // U+2028 and U+2029 break lines too, though Unicode does not class them as controls.
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_well_formed() {
        for (i, kind) in Kind::ALL.iter().enumerate() {
            let code = kind.code();
            assert!(code.starts_with("E-"), "{code}");
            assert!(code.bytes().all(|b| b == b'-' || b.is_ascii_uppercase()), "{code}");
            assert!(matches!(kind.exit_code(), 1..=3));
            assert!(Kind::ALL[..i].iter().all(|k| k.code() != code), "{code} twice");
        }
    }

    #[test]
    fn display_names_the_place() {
        let error = Error::new(Kind::Parse, "not a number");
        assert_eq!(error.to_string(), "E-PARSE: not a number");
        let error = error.in_file("a.csv").in_field("column 7");
        assert_eq!(error.to_string(), "E-PARSE: a.csv: column 7: not a number");
        let error = error.at_row(3).at_line(5);
        assert_eq!(error.to_string(), "E-PARSE: a.csv: row 3 (line 5), column 7: not a number");
    }

    #[test]
    fn json_has_every_field() {
        let error = Error::new(Kind::Dimension, "0 columns").in_file("a.npy").at_row(3);
        assert_eq!(
            error.to_json(),
            r#"{"error":{"code":"E-DIMENSION","message":"0 columns","file":"a.npy","row":3,"line":null,"field":null}}"#
        );
    }

    #[test]
    fn stays_on_one_line() {
        let error = Error::new(Kind::Id, "a\nb\u{2028}\u{1b}[2J").in_file("x\ry").in_field("\n");
        assert!(!error.to_string().contains(|c: char| c.is_control() || c == '\u{2028}'));
        assert_eq!(error.message(), "a\\nb\\u{2028}\\u{1b}[2J");
    }
}
