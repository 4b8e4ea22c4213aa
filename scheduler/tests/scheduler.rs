//! The scheduler from outside: a small world of workers that drives it, random worlds, each rule alone, and its own cost.

#[path = "scheduler/load.rs"]
mod load;
#[path = "scheduler/rules.rs"]
mod rules;
#[path = "scheduler/seeds.rs"]
mod seeds;
#[path = "scheduler/world.rs"]
mod world;
#[path = "scheduler/write.rs"]
mod write;
