//! Symbolon host.
