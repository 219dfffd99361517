//! The program as its users meet it: arguments in; exit code, output and
//! messages out.

mod cli {
    mod help;
    mod machine;
    mod setup;
    mod support;
}
