//! The local store on a real disk, and stock Nix as its judge.

mod add;
mod disk_store;
mod gc;
mod import;
mod kill;
mod nix;
mod optimise;
mod others;
mod realisations;
mod support;
mod trust;
mod verify;
