//! The few files of `/etc` that a build sees: the very ones that Nix writes, as
//! programs put what they read there into their outputs.

use std::path::PathBuf;

use crate::plan::Step;
use crate::request::{Network, Request};

/// Both families, as nothing else resolves `localhost` without a network.
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// With the machine's network: files first, then its resolver.
const NSSWITCH: &str = "hosts: files dns\nservices: files\n";

pub(super) fn steps(request: &Request) -> Vec<Step> {
    let mut files = vec![("passwd", passwd(request)), ("group", group(request))];
    match &request.network {
        Network::Loopback => files.push(("hosts", HOSTS.to_owned())),
        Network::Host { .. } => files.push(("nsswitch.conf", NSSWITCH.to_owned())),
    }
    files
        .into_iter()
        .filter_map(|(name, text)| {
            let path = PathBuf::from("/etc").join(name);
            let asked = request.binds.iter().any(|bind| bind.target == path);
            (!asked).then_some(Step::File { path, text })
        })
        .collect()
}

fn passwd(request: &Request) -> String {
    let home = request.build_dir_inside.display();
    let (uid, gid) = (request.inside.uid, request.inside.gid);
    format!(
        "root:x:0:0:Nix build user:{home}:/noshell\n\
         nixbld:x:{uid}:{gid}:Nix build user:{home}:/noshell\n\
         nobody:x:65534:65534:Nobody:/:/noshell\n"
    )
}

fn group(request: &Request) -> String {
    format!(
        "root:x:0:\nnixbld:!:{}:\nnogroup:x:65534:\n",
        request.inside.gid
    )
}
