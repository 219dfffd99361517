# What a build program is started with. Their outputs hold it, byte by byte.
{ build, script, ... }:

{
  # In the order in which the program got them, with zeros between.
  environ = build {
    name = "environ";
    args = [ "-euc" "cat /proc/self/environ > $out" ];
    text = "some text";
    empty = "";
    number = 17;
    list = [ "a" "b" ];
    true = true;
    nothing = null;
  };

  environ-overrides = build {
    name = "environ-overrides";
    args = [ "-euc" "cat /proc/self/environ > $out" ];
    HOME = "/my-home";
    NIX_STORE = "/my-store";
    NIX_BUILD_CORES = "77";
    NIX_BUILD_TOP = "/my-top";
    TMPDIR = "/my-tmp";
    TMP = "/my-tmp";
    TEMP = "/my-tmp";
    TEMPDIR = "/my-tmp";
    PWD = "/my-pwd";
    NIX_LOG_FD = "9";
    TERM = "dumb";
    NIX_OUTPUT_CHECKED = "0";
    impureEnvVars = "USER";
  };

  environ-odd-names = build {
    name = "environ-odd-names";
    args = [ "-euc" "cat /proc/self/environ > $out" ];
    "with.dot" = "dot";
    "with-dash" = "dash";
    "with space" = "space";
    "1digit" = "digit";
    "grüße" = "unicode";
    lines = "one\ntwo\n\nthree";
    quotes = "'\"\\$`";
  };

  environ-without-path = derivation {
    name = "environ-without-path";
    inherit (script "x" "") system;
    builder = "/bin/sh";
    args = [ "-euc" "/bin/cat /proc/self/environ > $out" ];
  };

  arguments = build {
    name = "arguments";
    args = [
      "-euc"
      "tr '\\0' '\\n' < /proc/$$/cmdline > $out"
      "zero"
      ""
      "two words"
      "grüße"
      "-x"
      (builtins.placeholder "out")
    ];
  };

  program-name = build {
    name = "program-name";
    builder = "/usr/bin/../bin/dash";
    args = [ "-euc" "tr '\\0' '\\n' < /proc/$$/cmdline > $out; readlink /proc/$$/exe >> $out" ];
  };

  working-directory = script "working-directory" ''
    { pwd; stat -c '%n %A %u %g' . ; ls -A; touch new; stat -c '%n %A %u %g' new; umask; } > $out
  '';

  accounts = script "accounts" ''
    { cat /etc/passwd /etc/group /etc/hosts; id; id -un; id -gn; } > $out
  '';

  host = script "host" ''
    { uname -n; cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname; } > $out
  '';

  machine-32 = build {
    name = "machine-32";
    system = "i686-linux";
    args = [ "-euc" "uname -m > $out" ];
  };

  temporary-files = script "temporary-files" ''
    { stat -c '%n %A' /tmp /var/tmp || true; echo > /tmp/x; mktemp > /dev/null; ls /tmp; } > $out 2>&1
  '';

  network = script "network" ''
    { sed 's/:.*//' /proc/net/dev; cat /proc/net/route /proc/net/fib_trie; } > $out
  '';

  loopback = script "loopback" ''
    perl -MIO::Socket::INET -e '
      my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die "listen: $!";
      my $c = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $s->sockport)
        or die "connect: $!";
      print "connected\n";
      my $o = IO::Socket::INET->new(PeerAddr => "192.0.2.1:9", Timeout => 3);
      print "outside: $!\n";
    ' > $out 2>&1
  '';

  streams = script "streams" ''
    { for fd in 0 1 2; do test -t $fd && echo $fd is a terminal || echo $fd is none; done
      stat -L -c '%F' /proc/self/fd/0
      readlink /proc/self/fd/0
      echo to the terminal >&2; } > $out
    echo out; echo err >&2; echo again
    echo by name > /dev/stderr
    tty < /dev/stderr > /dev/null && echo it has a name
  '';

  log-lines = script "log-lines" ''
    printf 'no newline'
    printf '\n\n'
    printf 'carriage\rreturn\n'
    printf '\033[31mcolour\033[0m\n'
    printf 'tab\tand gr\303\274\303\237e\n'
    echo '@nix {"action":"setPhase","phase":"build"}'
    echo '@nix {"action":"setPhase","phase":"install"}' >&$NIX_LOG_FD
    echo ' @nix not at the start'
    echo '@nixx not this either'
    printf 'the end'
    echo > $out
  '';

  visible-store = let input = script "input" "echo > $out"; in build {
    name = "visible-store";
    inherit input;
    args = [ "-euc" "ls /nix /nix/store > $out" ];
  };
}
