//! Each rule alone.
