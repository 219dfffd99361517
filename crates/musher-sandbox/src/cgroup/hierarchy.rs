//! Where a process is in each hierarchy of control groups, as a directory: its
//! path in the hierarchy, seen through where that is mounted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Controller, V1Parent};

/// The directories of one process.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hierarchies {
    /// In the unified hierarchy.
    pub(super) v2: Option<PathBuf>,
    /// In the hierarchies of version 1 that count what we want to know.
    pub(super) v1: Vec<V1Parent>,
}

impl Hierarchies {
    pub(super) fn of_this_process() -> io::Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(Self::parse(&own, &mounts))
    }

    /// `own` is `/proc/self/cgroup`: a line `<id>:<controllers>:<path>` for each
    /// hierarchy, without controllers for the unified one.
    fn parse(own: &str, mountinfo: &str) -> Self {
        let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
        let mut found = Self::default();
        for line in own.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            if controllers.is_empty() {
                let mount = mounts.iter().find(|mount| mount.kind == "cgroup2");
                found.v2 = mount.and_then(|mount| mount.place_of(path));
                continue;
            }
            for name in controllers.split(',') {
                let Some(controller) = Controller::of_v1(name) else {
                    continue;
                };
                let dir = mounts
                    .iter()
                    .find(|mount| mount.kind == "cgroup" && mount.has(name))
                    .and_then(|mount| mount.place_of(path));
                found.v1.extend(dir.map(|dir| V1Parent { controller, dir }));
            }
        }
        found
    }
}

impl Controller {
    fn of_v1(name: &str) -> Option<Self> {
        match name {
            "memory" => Some(Self::Memory),
            "pids" => Some(Self::Processes),
            "cpuacct" => Some(Self::Processor),
            _ => None,
        }
    }
}

/// A line of `/proc/self/mountinfo`, as far as it matters.
struct Mount<'a> {
    /// What of the hierarchy is mounted.
    root: &'a str,
    place: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// `id parent device root place options [tags…] - kind source options`
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut system = system.split(' ');
        let kind = system.next()?;
        let options = system.nth(1).unwrap_or_default();
        Some(Self {
            root: mount.next()?,
            place: mount.next()?,
            kind,
            options,
        })
    }

    fn has(&self, controller: &str) -> bool {
        self.options.split(',').any(|option| option == controller)
    }

    /// Where a group of this hierarchy is, if it is visible.
    fn place_of(&self, group: &str) -> Option<PathBuf> {
        let below = Path::new(group).strip_prefix(self.root).ok()?;
        Some(Path::new(self.place).join(below))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::Hierarchies;

    fn check(own: &str, mounts: &str, expected: &Expect) {
        expected.assert_debug_eq(&Hierarchies::parse(own, mounts));
    }

    #[test]
    fn a_unified_hierarchy_is_found() {
        check(
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/musher.service\n",
            "25 1 0:22 / /proc rw - proc proc rw\n\
             30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
            &expect![[r#"
                Hierarchies {
                    v2: Some(
                        "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/musher.service",
                    ),
                    v1: [],
                }
            "#]],
        );
    }

    #[test]
    fn hierarchies_of_version_1_may_share_a_mount() {
        check(
            "9:cpu,cpuacct:/a\n5:memory:/b/c\n3:freezer:/\n0::/\n",
            "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 /b /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            &expect![[r#"
                Hierarchies {
                    v2: None,
                    v1: [
                        V1Parent {
                            controller: Processor,
                            dir: "/sys/fs/cgroup/cpu,cpuacct/a",
                        },
                        V1Parent {
                            controller: Memory,
                            dir: "/sys/fs/cgroup/memory/c",
                        },
                    ],
                }
            "#]],
        );
    }

    #[test]
    fn a_group_outside_what_is_mounted_is_not_found() {
        check(
            "0::/../other\n5:memory:/elsewhere\n",
            "30 25 0:26 /own /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
             35 31 0:32 /b /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            &expect![[r#"
                Hierarchies {
                    v2: None,
                    v1: [],
                }
            "#]],
        );
    }
}
