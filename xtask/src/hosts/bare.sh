# Makes the root of a test host without Nix: $1 suite, $2 mirror, $3 directory,
# $4 apt settings. Runs in a mount and a pid namespace of its own, so nothing
# outlives it.

suite=$1 mirror=$2 root=$3 settings=$4
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

debootstrap --variant=minbase "$suite" "$root" "$mirror"

mount -t proc proc "$root/proc"
cp /etc/resolv.conf "$root/etc/resolv.conf"
printf 'deb %s %s main\n' "$mirror" "$suite" > "$root/etc/apt/sources.list"
printf '%s' "$settings" > "$root/etc/apt/apt.conf.d/10host"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

# csh stands for login shells that are not like sh.
chroot "$root" apt-get update
chroot "$root" apt-get install --yes --no-install-recommends openssh-server csh
chroot "$root" apt-get clean
rm -rf "$root"/var/lib/apt/lists/* "$root/etc/resolv.conf" "$root"/etc/ssh/ssh_host_*

# sshd refuses a key for an account that is locked, which `!` says and `*` does not.
chroot "$root" useradd --create-home --shell /bin/csh --password '*' alice
chroot "$root" useradd --create-home --shell /bin/sh --password '*' build
