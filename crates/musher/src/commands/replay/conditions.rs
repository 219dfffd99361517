//! What `replay` plays on, and how: the options and what they mean.

use std::time::Duration;

use clap::{Args, ValueEnum};
use musher_coordinator::config::Machine;
use musher_sim::{Arrival, Conditions, Estimates, Fleet, FleetError, Outcome, Policy, replay};

use crate::context::Context;
use crate::failure::Failure;

/// What `--fleet` has for the configured machines.
const REAL: &str = "real";

#[derive(Debug, Args)]
pub(super) struct ConditionArgs {
    /// The machines: `SPEEDxSLOTS,…`, as in `1.0x8,0.7x4`, where `@MBIT` behind a machine is
    /// its link; or `real` for the configured ones
    #[arg(long, value_name = "MACHINES", default_value = REAL)]
    fleet: String,
    /// What arrives at a machine in a second, in millions of bits [default: transfers take no
    /// time]
    #[arg(long, value_name = "MBIT")]
    mbit: Option<f64>,
    /// Who decides; several are compared
    #[arg(
        long,
        value_name = "POLICY",
        value_delimiter = ',',
        default_value = "musher"
    )]
    policy: Vec<PolicyArg>,
    /// What is known beforehand of how long builds take
    #[arg(long, value_name = "HOW", default_value = "noisy")]
    estimates: EstimatesArg,
    /// What everything random follows from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// How long after the end of a build the coordinator hears of it, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    report_delay: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PolicyArg {
    /// Musher's scheduler
    Musher,
    /// Stock Nix: by name, on the least loaded machine with a free slot
    Stock,
    /// In no order; this and the next two on the fastest machine with a free slot
    Random,
    /// First what the most others depend on
    Dependents,
    /// First what is before the longest chain of others, in steps
    Depth,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EstimatesArg {
    /// Everything
    Exact,
    /// Nothing of three in ten; the others are off by some 30 %
    Noisy,
    /// Nothing
    None,
}

#[derive(Debug, thiserror::Error)]
#[error("a link cannot have {mbit} Mbit a second")]
struct NoLink {
    mbit: f64,
}

impl ConditionArgs {
    /// The policies to compare, each once.
    pub(super) fn policies(&self) -> Vec<Policy> {
        let mut policies = Vec::new();
        for policy in &self.policy {
            let policy = Policy::from(*policy);
            if !policies.contains(&policy) {
                policies.push(policy);
            }
        }
        policies
    }

    pub(super) fn fleet(&self, context: &Context) -> Result<Fleet, Failure> {
        if let Some(mbit) = self.mbit.filter(|mbit| !mbit.is_finite() || *mbit <= 0.0) {
            return Err(Failure::user(NoLink { mbit }));
        }
        if self.fleet != REAL {
            return Ok(Fleet::parse(&self.fleet, self.mbit)?);
        }
        let config = context.fleet()?;
        let specs: Vec<_> = (config.machines().iter()).map(Machine::spec).collect();
        let configured = specs.len();
        let fleet = Fleet::configured(&specs, self.mbit)?;
        if fleet.machines.len() < configured {
            context.ui.note(&format!(
                "{} of {configured} machines build for `{}` without further conditions; the \
                 others do not play",
                fleet.machines.len(),
                fleet.needs.system
            ));
        }
        Ok(fleet)
    }

    /// Lets one policy decide.
    pub(super) fn play(&self, arrivals: &[Arrival<'_>], fleet: &Fleet, policy: Policy) -> Outcome {
        let conditions = Conditions {
            fleet,
            estimates: self.estimates.into(),
            seed: self.seed,
            report_delay: Duration::from_millis(self.report_delay),
        };
        match replay(arrivals, conditions, policy) {
            Ok(outcome) => outcome,
            Err(breach) => panic!("bug: policy `{}`: {breach}", policy.name()),
        }
    }
}

impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Self {
        Self::user(error)
    }
}

impl From<PolicyArg> for Policy {
    fn from(arg: PolicyArg) -> Self {
        match arg {
            PolicyArg::Musher => Self::Musher,
            PolicyArg::Stock => Self::Stock,
            PolicyArg::Random => Self::Random,
            PolicyArg::Dependents => Self::Dependents,
            PolicyArg::Depth => Self::Depth,
        }
    }
}

impl From<EstimatesArg> for Estimates {
    fn from(arg: EstimatesArg) -> Self {
        match arg {
            EstimatesArg::Exact => Self::Exact,
            EstimatesArg::Noisy => Self::Noisy,
            EstimatesArg::None => Self::None,
        }
    }
}
