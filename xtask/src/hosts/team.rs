//! A client and builders that it can reach by ssh as root.

use std::thread;

use anyhow::{Result, anyhow};

use super::{
    base,
    host::{Host, Spec},
    room,
    ssh::{ClientKey, Destination},
    suite::Suite,
};

/// A running client and its builders.
pub(crate) struct Team {
    pub(crate) client: Host,
    pub(crate) builders: Vec<Host>,
    key: ClientKey,
}

impl Team {
    /// Starts them all. Root on the client reaches each builder by its name,
    /// as root and as `build`.
    pub(crate) fn start(client: Spec, builders: Vec<Spec>) -> Result<Self> {
        room::sweep()?;
        let mut suites: Vec<Suite> = vec![client.suite];
        for spec in &builders {
            if !suites.contains(&spec.suite) {
                suites.push(spec.suite);
            }
        }
        base::prepare_all(&suites)?;
        let key = ClientKey::make()?;
        let mut hosts = start_all([vec![client], builders].concat())?;
        let client = hosts.remove(0);
        for builder in &hosts {
            builder.authorize(&key)?;
        }
        let team = Self {
            client,
            builders: hosts,
            key,
        };
        let direct: Vec<Destination> = team.builders.iter().map(Host::destination).collect();
        team.route(&direct, "")?;
        Ok(team)
    }

    /// Replaces how the client's ssh reaches the builders; `more` goes into its
    /// configuration for all of them.
    pub(crate) fn route(&self, destinations: &[Destination], more: &str) -> Result<()> {
        self.client.reach(destinations, &self.key, more)
    }
}

fn start_all(specs: Vec<Spec>) -> Result<Vec<Host>> {
    thread::scope(|scope| {
        let starts: Vec<_> = specs
            .into_iter()
            .map(|spec| scope.spawn(move || Host::start(spec)))
            .collect();
        starts
            .into_iter()
            .map(|start| {
                start
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
            })
            .collect()
    })
}
