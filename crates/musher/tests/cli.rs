//! The program as its users meet it: arguments in; exit code, output and
//! messages out.

mod cli {
    mod build;
    mod coordinator;
    mod doctor;
    mod examples;
    mod help;
    mod history;
    mod machine;
    mod replay;
    mod setup;
    mod store;
    mod support;
    mod why;
}
