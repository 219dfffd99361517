//! Capability classes: what is grouped, and that names stay.

use musher_scheduler::{CapabilityClass, MachineSpec, SpeedFactor, capability_classes};

fn machine(id: &str, systems: &[&str], supported: &[&str], mandatory: &[&str]) -> MachineSpec {
    let set = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    MachineSpec {
        id: id.into(),
        systems: set(systems),
        slots: 4,
        speed_factor: SpeedFactor::ONE,
        supported_features: set(supported),
        mandatory_features: set(mandatory),
        memory: None,
    }
}

fn names(machines: &[MachineSpec]) -> Vec<String> {
    let classes = capability_classes(machines);
    classes.into_iter().map(|class| class.name).collect()
}

#[test]
fn machines_of_the_same_capabilities_are_one_class() {
    let mut fast = machine("b2", &["x86_64-linux"], &["kvm", "big"], &["big"]);
    fast.speed_factor = SpeedFactor::new(2.5).unwrap();
    let machines = [
        machine("b1", &["x86_64-linux"], &["kvm"], &["big"]),
        fast,
        machine("b3", &["x86_64-linux"], &["kvm", "big"], &[]),
    ];
    let classes = capability_classes(&machines);
    let counted: Vec<_> = (classes.iter())
        .map(|class: &CapabilityClass| (class.mandatory_features.len(), class.slots))
        .collect();
    assert_eq!(counted, [(0, 4), (1, 8)]);
    assert_eq!(classes[1].max_speed_factor.value(), 2.5);
    assert_eq!(classes[0].supported_features, classes[1].supported_features);
}

#[test]
fn a_machine_without_slots_is_in_no_class() {
    let mut off = machine("b1", &["x86_64-linux"], &[], &[]);
    off.slots = 0;
    assert_eq!(capability_classes([&off]), []);
}

/// These names are in files on users' disks: a change here breaks them.
#[test]
fn names_are_short_and_safe_and_stay() {
    let machines = [
        machine("b1", &["x86_64-linux"], &[], &[]),
        machine("b2", &["x86_64-linux"], &["kvm"], &[]),
        machine("b3", &["x86_64-linux"], &["kvm"], &["kvm"]),
        machine("b4", &["x86_64-linux", "i686-linux"], &[], &[]),
        machine("b5", &["odd system/ä", "z"], &[], &[]),
        machine("b6", &[], &["kvm"], &[]),
    ];
    let found = names(&machines);
    expect_test::expect![[r#"
        i686-linux-1fc187cd
        none-95c4356a
        odd-system---4e47c4ca
        x86_64-linux
        x86_64-linux-971baaa0
        x86_64-linux-ea53f227"#]]
    .assert_eq(&found.join("\n"));

    for (at, alone) in machines.iter().enumerate() {
        let [name] = &names(std::slice::from_ref(alone))[..] else {
            panic!("machine {at} is in one class");
        };
        assert!(found.contains(name), "{name} depends on other machines");
    }
}
