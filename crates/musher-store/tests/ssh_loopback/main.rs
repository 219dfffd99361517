//! ssh as it is: the user's `ssh` program against a real sshd on loopback, each
//! test with a server, keys and a control directory of its own. Needs root and
//! `openssh-server`; where they are missing a test says that it was skipped, and
//! in CI (`CI=true`) fails.

mod connect;
mod host;
mod leftovers;
mod link;
mod sessions;
