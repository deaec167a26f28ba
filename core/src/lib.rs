//! Symbolon core.
#![no_std]
