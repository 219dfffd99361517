# What a build finds when it looks around. Much of it is this machine's, or
# differs for good reasons: compared one by one.
{ script, ... }:

{
  facts-status = script "facts-status" ''
    while IFS=':' read -r name value; do
      case $name in
        Umask|State|Tgid|Pid|PPid|TracerPid|Uid|Gid|Groups|NStgid|NSpid|NSpgid|NSsid|\
        SigBlk|SigIgn|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp|Seccomp_filters|\
        Cpus_allowed_list|Mems_allowed_list|THP_enabled)
          echo "$name: $value";;
      esac
    done < /proc/$$/status
    echo > $out
  '';

  facts-stat = script "facts-stat" ''
    read -r pid name state parent group session terminal foreground rest < /proc/$$/stat
    echo "parent: $parent"
    echo "group: $group"
    echo "session: $session"
    echo "terminal: $terminal"
    echo "foreground: $foreground"
    echo "nice: $(nice)"
    echo "oom: $(cat /proc/self/oom_score_adj)"
    echo "personality: $(cat /proc/self/personality 2>&1)"
    echo "dumpable: $(stat -c %U /proc/self/mem)"
    set -- /proc/[0-9]*
    echo "processes: $#"
    echo > $out
  '';

  facts-limits = script "facts-limits" ''
    cut -c 1-26 /proc/self/limits | tail -n +2 | while read -r line; do :; done
    tail -n +2 /proc/self/limits | sed 's/  \+/: /; s/  */ /g'
    echo > $out
  '';

  facts-descriptors = script "facts-descriptors" ''
    for fd in /proc/$$/fd/*; do
      echo "''${fd##*/}: $(readlink $fd | sed 's,/dev/pts/[0-9]*,a terminal,; s,:.[0-9]*.$,,')"
    done
    echo > $out
  '';

  facts-root = script "facts-root" ''
    for file in / /* /etc/* /dev/* /nix/*; do
      case $file in /dev/pts|/dev/shm|/proc) : ;; esac
      echo "$file: $(stat -c '%F %A %u %g' $file)"
    done
    for file in /dev/fd /dev/stdin /dev/stdout /dev/stderr /dev/ptmx; do
      echo "link $file: $(readlink $file)"
    done
    echo > $out
  '';

  facts-mounts = script "facts-mounts" ''
    while read -r id parent device root point options rest; do
      case $point in /nix/store/*) continue;; esac
      type=''${rest#*- }
      echo "$point: ''${type%% *} $options"
    done < /proc/self/mountinfo
    echo > $out
  '';

  facts-input-mounts = script "facts-input-mounts" ''
    while read -r id parent device root point options rest; do
      case $point in /nix/store/*) echo "input: $options";; esac
    done < /proc/self/mountinfo
    echo "source: $(cat ${builtins.toFile "source" "source"})"
    echo "write: $(echo x 2>&1 > ${builtins.toFile "source" "source"} | sed 's/.*: //')"
    echo > $out
  '';

  facts-namespaces = script "facts-namespaces" ''
    for map in uid_map gid_map; do
      while read -r inside outside count; do echo "$map: $inside $count"; done < /proc/self/$map
    done
    echo "setgroups: $(cat /proc/self/setgroups)"
    echo "userns: $(unshare --user true 2>&1 && echo yes)"
    echo "mount: $(mount -t tmpfs none /tmp 2>&1 | sed 's/.*: //')"
    echo "chroot: $(chroot / true 2>&1 | sed 's/.*: //')"
    echo "mknod: $(mknod /tmp/x c 1 3 2>&1 | sed 's/.*: //')"
    echo "mkfifo: $(mkfifo /tmp/fifo 2>&1 && echo made)"
    echo > $out
  '';

  facts-permissions = script "facts-permissions" ''
    try() {
      name=$1; shift
      if text=$("$@" 2>&1); then echo "$name: allowed $text"; else echo "$name: ''${text##*: }"; fi
    }
    touch file
    try setuid chmod u+s file
    try setgid chmod g+s file
    try chown chown 0 file
    try chgrp chgrp 0 file
    try xattr perl -e 'exit(syscall(188, "file", "user.x", "1", 1, 0) == 0 ? 0 : ($!+0))'
    try etc touch /etc/new
    try root touch /new
    try dev touch /dev/new
    try store touch /nix/store/new
    try nix touch /nix/new
    try usr touch /usr/new
    try passwd sh -c 'echo >> /etc/passwd'
    try hosts sh -c 'echo >> /etc/hosts'
    try proc-sys sh -c 'echo x > /proc/sys/kernel/hostname'
    try shm touch /dev/shm/new
    try full sh -c 'echo > /dev/full'
    try tty sh -c 'echo > /dev/tty'
    try pts sh -c 'ls /dev/pts'
    try sys ls /sys
    try hostname hostname other
    try kill kill -0 2
    echo > $out
  '';
}
