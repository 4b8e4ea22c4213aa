//! The vault as a whole: what may be lost, what may be damaged, and where a crash may come.

mod crash;
mod custodians;
mod forgery;
mod loss;
mod making;
mod mutation;
mod sealing;
mod small;
