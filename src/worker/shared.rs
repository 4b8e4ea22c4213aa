//! A bundle on a filesystem that the worker shares with the coordinator.
