//! A network of a host's own: one cable to this machine, which can be pulled.
//! For what a loopback port cannot be, unreachable.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::host::Host;
use crate::run;

/// Where this machine's ends get their addresses: a range set aside for
/// benchmarks, so that no real network is in the way.
const FIRST: [u8; 2] = [198, 18];

/// How many cables there may be; each takes four addresses of 65,536.
const CABLES: u16 = 1 << 14;

/// The interface at the host's end.
const INSIDE: &str = "eth0";

/// A cable between this machine and a host. It goes when the host does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cable {
    number: u16,
}

impl Cable {
    /// Connects the network namespace of process `init`.
    pub(super) fn lay(init: u32) -> Result<Self> {
        for number in 0..CABLES {
            // Two runs may both try a number; the kernel lets one have the name.
            let cable = Self { number };
            let outside = cable.outside();
            let peer = init.to_string();
            let added = run::outcome(&mut ip(&[
                "link", "add", &outside, "type", "veth", "peer", "name", INSIDE, "netns", &peer,
            ]))?;
            if added.status.success() {
                let address = format!("{}/30", cable.address(1));
                run::output(&mut ip(&["address", "add", &address, "dev", &outside]))?;
                run::output(&mut ip(&["link", "set", &outside, "up"]))?;
                return Ok(cable);
            }
            let said = run::both_streams(&added);
            if !said.contains("File exists") {
                bail!("cannot lay a cable to a host: {said}");
            }
        }
        bail!("all {CABLES} cables to hosts are in use")
    }

    /// The host's address.
    pub(super) fn host_address(self) -> IpAddr {
        IpAddr::V4(self.address(2))
    }

    fn outside(self) -> String {
        format!("musher{}", self.number)
    }

    fn address(self, end: u8) -> Ipv4Addr {
        let [high, low] = (self.number * 4).to_be_bytes();
        Ipv4Addr::new(FIRST[0], FIRST[1], high, low + end)
    }
}

impl Host {
    /// Gives the host's end its address.
    pub(super) fn plug_in(&self, cable: Cable) -> Result<()> {
        let address = format!("{}/30", cable.host_address());
        self.inside(&["address", "add", &address, "dev", INSIDE])?;
        self.inside(&["link", "set", "lo", "up"])?;
        self.reconnect()
    }

    /// Pulls the cable: nothing comes or goes, and nothing is closed. Only for
    /// a host with a network of its own.
    pub(crate) fn disconnect(&self) -> Result<()> {
        self.inside(&["link", "set", INSIDE, "down"])
    }

    /// Puts the cable back.
    pub(crate) fn reconnect(&self) -> Result<()> {
        self.inside(&["link", "set", INSIDE, "up"])
    }

    fn inside(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.init()))
            .args(["--net", "--", "ip"])
            .args(words);
        run::output(&mut command)
            .map(drop)
            .with_context(|| format!("cannot set up the network of `{}`", self.name()))
    }
}

fn ip(words: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(words);
    command
}
