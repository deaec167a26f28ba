//! Symbolon platform.
