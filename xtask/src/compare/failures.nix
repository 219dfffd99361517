# Builds that fail, each in its own way.
{ build, script, floating, ... }:

{
  fails = script "fails" "echo before; exit 1";
  fails-77 = script "fails-77" "exit 77";
  fails-after-output = script "fails-after-output" "echo x > $out; false";
  killed = script "killed" "perl -e 'kill 11, $$'; exit $?";
  suicide = build {
    name = "suicide";
    builder = "/usr/bin/perl";
    args = [ "-e" "kill 6, $$; sleep 1" ];
  };
  no-output = script "no-output" "true";
  one-output-missing = build {
    name = "one-output-missing";
    outputs = [ "out" "dev" ];
    args = [ "-euc" "echo > $out" ];
  };
  no-program = build { name = "no-program"; builder = "/no/such/program"; };
  no-interpreter = build {
    name = "no-interpreter";
    builder = script "script" "printf '#!/no/such/interpreter\\n' > $out; chmod 755 $out";
  };
  not-executable = build {
    name = "not-executable";
    builder = builtins.toFile "program" "#!/bin/sh\n";
  };
  directory-program = build { name = "directory-program"; builder = "/usr"; };
  fifo-output = script "fifo-output" "mkfifo $out";
  fifo-inside = script "fifo-inside" "mkdir $out; mkfifo $out/fifo";
  socket-output = script "socket-output" ''
    perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => $ENV{out}, Listen => 1) or die'
  '';
  writable-output = script "writable-output" "mkdir $out; chmod 777 $out";
  cycle = build {
    name = "cycle";
    outputs = [ "out" "dev" ];
    args = [ "-euc" "echo $dev > $out; echo $out > $dev" ];
  };
  floating-cycle = floating {
    name = "floating-cycle";
    outputs = [ "out" "dev" ];
    args = [ "-euc" "echo $dev > $out; echo $out > $dev" ];
  };
  other-system = build { name = "other-system"; system = "riscv64-linux"; args = [ ]; };
  missing-feature = build {
    name = "missing-feature";
    requiredSystemFeatures = [ "a-feature" "another" ];
    args = [ ];
  };
  other-system-and-feature = build {
    name = "other-system-and-feature";
    system = "riscv64-linux";
    requiredSystemFeatures = [ "a-feature" ];
    args = [ ];
  };
  no-chroot = build { name = "no-chroot"; __noChroot = true; args = [ "-euc" "echo > $out" ]; };
  host-path = build { name = "host-path"; args = [ "-euc" "ls /root /home /nix/var /sys 2>&1; echo > $out" ]; };
  depends-on-failure = build {
    name = "depends-on-failure";
    input = script "failing-input" "exit 1";
    args = [ "-euc" "echo > $out" ];
  };

  # Started with limits, or built twice: by their names.
  limited-timeout = script "limited-timeout" "echo start; sleep 100";
  limited-silence = script "limited-silence" "echo start; sleep 100";
  limited-log = script "limited-log" "while :; do echo 0123456789; done";
  twice-same = script "twice-same" "echo $out > $out";
  twice-different = script "twice-different" "date +%N > $out";
}
