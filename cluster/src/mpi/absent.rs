//! The MPI thread of a program that is built without MPI: there is none.

use super::{MpiError, Port};

/// A world that cannot be.
#[derive(Debug)]
pub enum World {}

impl World {
    /// Says that there is no MPI.
    pub fn enter() -> Result<Self, MpiError> {
        Err(MpiError::NotBuilt)
    }

    /// Number of this rank, from 0.
    pub fn rank(&self) -> u32 {
        match *self {}
    }

    /// Number of ranks.
    pub fn size(&self) -> u32 {
        match *self {}
    }

    /// The lowest rank on this node.
    pub fn node(&self) -> u32 {
        match *self {}
    }

    /// Name of this node.
    pub fn host(&self) -> &str {
        match *self {}
    }

    /// The way to the other ranks, and the world without it.
    pub fn split(self) -> (Port, Ending) {
        match self {}
    }
}

/// What would end the world.
#[derive(Debug)]
pub enum Ending {}

impl Ending {
    /// Ends the world.
    pub fn end(self, _code: u8) {
        match self {}
    }
}
