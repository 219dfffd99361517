//! The program as its users meet it: arguments in; exit code, output and
//! messages out.

mod cli {
    mod coordinator;
    mod doctor;
    mod help;
    mod machine;
    mod setup;
    mod store;
    mod support;
}
