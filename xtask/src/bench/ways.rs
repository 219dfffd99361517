//! The ways of building that are compared, and taking one of them.

use std::path::Path;

use anyhow::Result;

use super::{SLOTS, alone};
use crate::{
    dispatch::{self, Machine},
    hosts::{host::Host, ssh::Destination, team::Team},
    relay::{Link, Relay},
};

/// What a user of stock Nix may put into ssh_config to save connections.
const CONTROL_MASTER: &str =
    "  ControlMaster auto\n  ControlPath /run/ssh-%C\n  ControlPersist 600\n";

/// A way to get a build done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// On the client itself, for orientation.
    Local,
    /// Stock remote building, as it comes.
    Stock,
    /// The same with a ControlMaster of the user's.
    StockMaster,
    /// Through Musher.
    Musher,
    /// Without Nix's part in it: `musher build` on a worker on the client.
    Alone,
}

impl Way {
    /// Every way, in the order of the table.
    pub(super) const ALL: [Self; 5] = [
        Self::Local,
        Self::Stock,
        Self::StockMaster,
        Self::Musher,
        Self::Alone,
    ];

    /// In the report.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Stock => "stock",
            Self::StockMaster => "stock + ControlMaster",
            Self::Musher => "Musher",
            Self::Alone => "`musher build`, one worker",
        }
    }
}

/// The ways from a team's client to its builders over one link.
pub(super) struct Ways<'a> {
    team: &'a Team,
    destinations: Vec<Destination>,
    machines: Vec<Machine>,
    /// The nix.conf that `musher setup` left, if Musher takes part.
    musher_conf: Option<String>,
    is_far: bool,
    // Held open for as long as the ways are used.
    _relays: Vec<Relay>,
}

impl<'a> Ways<'a> {
    /// Starts what the ways need: relays for a link, and `musher daemon`, which
    /// stays up and idle while the others are measured.
    pub(super) fn prepare(
        team: &'a Team,
        musher: Option<&Path>,
        link: Option<Link>,
    ) -> Result<Self> {
        let mut destinations: Vec<Destination> =
            team.builders.iter().map(Host::destination).collect();
        let mut relays = Vec::new();
        if let Some(link) = link {
            for destination in &mut destinations {
                let relay = Relay::start(destination.address, link)?;
                destination.address = relay.address();
                relays.push(relay);
            }
        }
        let machines: Vec<Machine> = destinations
            .iter()
            .map(|destination| Machine::new(destination, SLOTS))
            .collect();
        team.route(&destinations, "")?;
        let musher_conf = match musher {
            Some(program) => {
                dispatch::use_musher(&team.client, program, &machines)?;
                alone::prepare(&team.client)?;
                Some(team.client.read("/etc/nix/nix.conf")?)
            }
            None => None,
        };
        Ok(Self {
            team,
            destinations,
            machines,
            musher_conf,
            is_far: link.is_some(),
            _relays: relays,
        })
    }

    /// The ways there are. That of a worker on the client itself has no link.
    pub(super) fn all(&self) -> impl Iterator<Item = Way> + use<> {
        let (with_musher, is_far) = (self.musher_conf.is_some(), self.is_far);
        Way::ALL.into_iter().filter(move |way| match way {
            Way::Local | Way::Stock | Way::StockMaster => true,
            Way::Musher => with_musher,
            Way::Alone => with_musher && !is_far,
        })
    }

    /// Makes the client's Nix go this way from now on.
    pub(super) fn take(&self, way: Way) -> Result<()> {
        let client = &self.team.client;
        let more = if way == Way::StockMaster {
            CONTROL_MASTER
        } else {
            ""
        };
        self.team.route(&self.destinations, more)?;
        match way {
            Way::Local => {
                client.configure_nix(&[("max-jobs", &SLOTS.to_string())])?;
                client.restart_nix_daemon()
            }
            Way::Stock | Way::StockMaster => dispatch::use_stock(client, &self.machines),
            Way::Musher => {
                client.write(
                    "/etc/nix/nix.conf",
                    self.musher_conf.as_deref().unwrap_or_default(),
                )?;
                client.restart_nix_daemon()
            }
            Way::Alone => Ok(()),
        }
    }
}
