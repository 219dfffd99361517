//! Whether this executor builds a derivation at all. Pure; the words are Nix's.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use musher_protocol::types::BasicDerivation;

use super::attributes::Attributes;
use super::kind::Kind;

/// The system of derivations that any machine can build.
const ANY_SYSTEM: &str = "builtin";

/// How the beginning of a builtin's name reads.
pub(super) const BUILTIN: &str = "builtin:";

/// Whether builds are shut off from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sandboxing {
    /// All are; a derivation that asks otherwise is refused.
    #[default]
    Always,
    /// None is. The store must be where its paths say then.
    Never,
}

/// Whether `derivation` is one of those Nix builds by itself.
pub(super) fn is_builtin(derivation: &BasicDerivation) -> bool {
    derivation.builder.starts_with(BUILTIN)
}

impl Sandboxing {
    /// Whether a derivation runs in a sandbox; an error if it asks for what it
    /// cannot have.
    pub(super) fn applies(self, drv: &str, attributes: &Attributes) -> Result<bool, String> {
        match self {
            Self::Always if attributes.no_chroot => Err(format!(
                "derivation '{drv}' has '__noChroot' set, but that's not allowed when 'sandbox' is 'true'"
            )),
            Self::Always => Ok(true),
            Self::Never => Ok(false),
        }
    }
}

/// What a machine can build.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capability<'a> {
    /// The systems it runs programs of, its own first.
    pub(super) systems: &'a [String],
    /// Its features.
    pub(super) features: &'a BTreeSet<String>,
}

impl Capability<'_> {
    /// What this machine lacks for `derivation`, in words; none if it has all.
    pub(super) fn lacks(
        &self,
        drv: &str,
        derivation: &BasicDerivation,
        kind: Kind,
        attributes: &Attributes,
    ) -> Option<String> {
        let mut reasons = String::new();
        if !self.runs(derivation) {
            let own = self.systems.first().map_or("", String::as_str);
            // Nothing fails that writes to a string.
            let _ = write!(
                reasons,
                "\nReason: platform mismatch\nRequired system: '{}'\nCurrent system: '{own}'",
                derivation.system
            );
        }
        let mut required = attributes.required_system_features.clone();
        if !kind.has_known_paths() {
            required.insert("ca-derivations".to_owned());
        }
        if !required.is_subset(self.features) {
            let _ = write!(
                reasons,
                "\nReason: missing system features\nRequired features: {{{}}}\nAvailable features: {{{}}}",
                list(&required),
                list(self.features)
            );
        }
        (!reasons.is_empty()).then(|| format!("Cannot build '{drv}'.{reasons}"))
    }

    fn runs(&self, derivation: &BasicDerivation) -> bool {
        self.systems.contains(&derivation.system)
            || (derivation.system == ANY_SYSTEM && is_builtin(derivation))
    }
}

fn list(words: &BTreeSet<String>) -> String {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;
    use nix_derivation::StoreDir;

    use super::*;

    fn derivation(system: &str, builder: &str, env: &[(&str, &str)]) -> BasicDerivation {
        BasicDerivation {
            outputs: BTreeMap::new(),
            input_sources: BTreeSet::new(),
            system: system.into(),
            builder: builder.into(),
            args: Vec::new(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
        }
    }

    fn attributes(derivation: &BasicDerivation) -> Attributes {
        Attributes::of(derivation, &StoreDir::default()).expect("attributes")
    }

    fn lacks(derivation: &BasicDerivation, kind: Kind) -> Option<String> {
        let systems = ["x86_64-linux".to_owned(), "i686-linux".to_owned()];
        let features = ["kvm".to_owned()].into();
        let capability = Capability {
            systems: &systems,
            features: &features,
        };
        capability.lacks("/x.drv", derivation, kind, &attributes(derivation))
    }

    #[test]
    fn a_machine_builds_for_its_systems() {
        let kind = Kind::InputAddressed;
        let needs_kvm = [("requiredSystemFeatures", "kvm")];
        assert_eq!(
            lacks(&derivation("i686-linux", "/bin/sh", &needs_kvm), kind),
            None
        );
        assert_eq!(
            lacks(&derivation("builtin", "builtin:fetchurl", &[]), kind),
            None
        );
        assert!(lacks(&derivation("builtin", "/bin/sh", &[]), kind).is_some());
    }

    #[test]
    fn what_is_missing_is_said() {
        let wants = derivation(
            "riscv64-linux",
            "/bin/sh",
            &[("requiredSystemFeatures", "kvm big")],
        );
        expect![[r#"
            Cannot build '/x.drv'.
            Reason: platform mismatch
            Required system: 'riscv64-linux'
            Current system: 'x86_64-linux'
            Reason: missing system features
            Required features: {big, ca-derivations, kvm}
            Available features: {kvm}"#]]
        .assert_eq(&lacks(&wants, Kind::Floating).expect("a reason"));
    }

    #[test]
    fn who_may_do_without_a_sandbox() {
        let plain = attributes(&derivation("x", "y", &[]));
        let open = attributes(&derivation("x", "y", &[("__noChroot", "1")]));
        let applies =
            |sandboxing: Sandboxing, attributes| sandboxing.applies("/x.drv", attributes).ok();
        assert_eq!(applies(Sandboxing::Always, &plain), Some(true));
        assert_eq!(applies(Sandboxing::Always, &open), None);
        assert_eq!(applies(Sandboxing::Never, &plain), Some(false));
        assert_eq!(applies(Sandboxing::Never, &open), Some(false));
    }
}
