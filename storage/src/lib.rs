//! The scratch of a job on a POSIX filesystem: packs of task outputs, the journal that says which of them count, the
//! keys they are sealed under, and the lock that keeps a second scheduler out. Byte tables stand in `DESIGN.md`
//! beside this crate.
//!
//! Invariant: nothing that a caller was told is stored is lost by a crash, and no byte comes back other than it was
//! written; whatever cannot be kept so is an error that names the file and the place in it. Nothing here knows what
//! the bytes mean.

pub mod atomic;
pub mod audit;
pub mod disk;
pub mod erasure;
pub mod fence;
pub mod floe;
pub mod fragment;
pub mod journal;
pub mod key;
pub mod keyfile;
pub mod lease;
pub mod lock;
pub mod pack;
pub mod placed;
pub mod shamir;
pub mod signed;
pub mod signing;
pub mod site;
pub mod stretch;
pub mod tree;
pub mod vault;
pub mod wrap;

pub use atomic::{AtomicFile, AtomicFileError};
pub use disk::{DiskError, sync_parent};
pub use fence::{Fence, FenceError};
pub use journal::{Changes, Commit, JobIdentity, Journal, JournalError};
pub use key::{KeyError, KeyFolder, KeyService, SampleKey};
pub use pack::{
    BlockEntry, Pack, PackError, Packs, PieceRef, RecordBuilder, RecordReader, Writer, WriterNumbers,
};
pub use placed::PlacedFile;
pub use stretch::Stretch;
