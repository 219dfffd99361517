//! Between the messages and the values of `musher-protocol`. Store paths are
//! absolute in messages and parsed in values; nothing else changes.

use std::collections::BTreeMap;

use musher_protocol::types::{
    BasicDerivation, BasicOutput, BuildMode, BuildResult, BuildStatus, BuiltOutput, NarHash,
    PathInfo, Text,
};
use nix_derivation::{CAHash, StoreDir, StorePath};

use crate::coordinator as api;

/// A message that says what no value can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad `{field}` in a message between Musher's processes: `{found}`")]
pub struct ConvertError {
    /// The field.
    pub field: &'static str,
    /// What it held.
    pub found: String,
}

fn bad(field: &'static str, found: impl Into<String>) -> ConvertError {
    ConvertError {
        field,
        found: found.into(),
    }
}

fn path(store_dir: &StoreDir, field: &'static str, text: &str) -> Result<StorePath, ConvertError> {
    store_dir
        .parse_path(text.as_bytes())
        .map_err(|_| bad(field, text))
}

fn optional_path(
    store_dir: &StoreDir,
    field: &'static str,
    text: &str,
) -> Result<Option<StorePath>, ConvertError> {
    (!text.is_empty())
        .then(|| path(store_dir, field, text))
        .transpose()
}

fn render_optional(store_dir: &StoreDir, path: Option<&StorePath>) -> String {
    path.map(|path| store_dir.render_path(path))
        .unwrap_or_default()
}

impl api::Derivation {
    /// The message for `derivation`.
    pub fn from_value(store_dir: &StoreDir, derivation: &BasicDerivation) -> Self {
        let output = |output: &BasicOutput| api::DerivationOutput {
            path: render_optional(store_dir, output.path.as_ref()),
            hash_algo: output.hash_algo.clone(),
            hash: output.hash.clone(),
        };
        Self {
            outputs: (derivation.outputs.iter())
                .map(|(name, value)| (name.clone(), output(value)))
                .collect(),
            input_sources: (derivation.input_sources.iter())
                .map(|path| store_dir.render_path(path))
                .collect(),
            system: derivation.system.clone(),
            builder: derivation.builder.clone(),
            args: derivation.args.clone(),
            env: derivation.env.clone(),
        }
    }

    /// The derivation that the message holds.
    pub fn to_value(&self, store_dir: &StoreDir) -> Result<BasicDerivation, ConvertError> {
        let mut outputs = BTreeMap::new();
        for (name, output) in &self.outputs {
            let value = BasicOutput {
                path: optional_path(store_dir, "outputs.path", &output.path)?,
                hash_algo: output.hash_algo.clone(),
                hash: output.hash.clone(),
            };
            outputs.insert(name.clone(), value);
        }
        let input_sources = (self.input_sources.iter())
            .map(|text| path(store_dir, "input_sources", text))
            .collect::<Result<_, _>>()?;
        Ok(BasicDerivation {
            outputs,
            input_sources,
            system: self.system.clone(),
            builder: self.builder.clone(),
            args: self.args.clone(),
            env: self.env.clone(),
        })
    }
}

impl api::PathInfo {
    /// The message for `info`.
    pub fn from_value(store_dir: &StoreDir, info: &PathInfo) -> Self {
        Self {
            path: store_dir.render_path(&info.path),
            deriver: render_optional(store_dir, info.deriver.as_ref()),
            nar_hash: info.nar_hash.0.to_vec(),
            nar_size: info.nar_size,
            references: info
                .references
                .iter()
                .map(|path| store_dir.render_path(path))
                .collect(),
            registration_time: info.registration_time,
            ultimate: info.ultimate,
            signatures: info.signatures.iter().cloned().collect(),
            ca: info
                .ca
                .as_ref()
                .map(CAHash::to_nix_string)
                .unwrap_or_default(),
        }
    }

    /// The path info that the message holds.
    pub fn to_value(&self, store_dir: &StoreDir) -> Result<PathInfo, ConvertError> {
        let nar_hash = self.nar_hash.as_slice().try_into();
        let nar_hash = nar_hash.map_err(|_| bad("nar_hash", format!("{:?}", self.nar_hash)))?;
        let ca = match self.ca.as_str() {
            "" => None,
            text => Some(CAHash::parse(text).map_err(|_| bad("ca", text))?),
        };
        Ok(PathInfo {
            path: path(store_dir, "path", &self.path)?,
            deriver: optional_path(store_dir, "deriver", &self.deriver)?,
            nar_hash: NarHash(nar_hash),
            nar_size: self.nar_size,
            references: (self.references.iter())
                .map(|text| path(store_dir, "references", text))
                .collect::<Result<_, _>>()?,
            registration_time: self.registration_time,
            ultimate: self.ultimate,
            signatures: self.signatures.iter().cloned().collect(),
            ca,
        })
    }
}

impl From<BuildMode> for api::BuildMode {
    fn from(mode: BuildMode) -> Self {
        match mode {
            BuildMode::Normal => Self::Normal,
            BuildMode::Repair => Self::Repair,
            BuildMode::Check => Self::Check,
        }
    }
}

impl From<api::BuildMode> for BuildMode {
    fn from(mode: api::BuildMode) -> Self {
        match mode {
            api::BuildMode::Normal => Self::Normal,
            api::BuildMode::Repair => Self::Repair,
            api::BuildMode::Check => Self::Check,
        }
    }
}

impl api::Ended {
    /// The message for a build that ended on `machine` (empty for nowhere),
    /// with the infos of its valid outputs by output name.
    pub fn from_value(
        store_dir: &StoreDir,
        machine: &str,
        result: &BuildResult,
        infos: &BTreeMap<String, PathInfo>,
    ) -> Self {
        let output = |name: &String, info: &PathInfo| {
            let built = result.built_outputs.get(name);
            api::Output {
                info: Some(api::PathInfo::from_value(store_dir, info)),
                drv_hash: built
                    .and_then(|built| built.drv_hash.clone())
                    .unwrap_or_default(),
                realisation_signatures: built
                    .map(|built| built.signatures.iter().cloned().collect())
                    .unwrap_or_default(),
            }
        };
        Self {
            status: result.status as u32,
            error: result.error.as_bytes().to_vec(),
            times_built: result.times_built,
            non_deterministic: result.non_deterministic,
            start: result.start,
            stop: result.stop,
            cpu_user_us: result.cpu_user,
            cpu_system_us: result.cpu_system,
            outputs: infos
                .iter()
                .map(|(name, info)| (name.clone(), output(name, info)))
                .collect(),
            machine: machine.to_owned(),
            usage: None,
        }
    }

    /// The result that the message holds, and the infos of its valid outputs
    /// by output name.
    pub fn to_value(
        &self,
        store_dir: &StoreDir,
    ) -> Result<(BuildResult, BTreeMap<String, PathInfo>), ConvertError> {
        let status = (BuildStatus::ALL.into_iter())
            .find(|status| *status as u32 == self.status)
            .ok_or_else(|| bad("status", self.status.to_string()))?;
        let mut infos = BTreeMap::new();
        let mut built_outputs = BTreeMap::new();
        for (name, output) in &self.outputs {
            let info = output
                .info
                .as_ref()
                .ok_or_else(|| bad("outputs.info", "nothing"))?;
            let info = info.to_value(store_dir)?;
            let built = BuiltOutput {
                drv_hash: (!output.drv_hash.is_empty()).then(|| output.drv_hash.clone()),
                path: info.path.clone(),
                signatures: output.realisation_signatures.iter().cloned().collect(),
                dependent_realisations: BTreeMap::new(),
            };
            built_outputs.insert(name.clone(), built);
            infos.insert(name.clone(), info);
        }
        let mut result =
            BuildResult::new(status, Text::from(bytes::Bytes::from(self.error.clone())));
        result.times_built = self.times_built;
        result.non_deterministic = self.non_deterministic;
        result.start = self.start;
        result.stop = self.stop;
        result.cpu_user = self.cpu_user_us;
        result.cpu_system = self.cpu_system_us;
        result.built_outputs = built_outputs;
        Ok((result, infos))
    }
}
