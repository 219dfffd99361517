//! Compiles the service definitions without a `protoc` program.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/coordinator.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".musher.coordinator.v1.NarChunk.bytes")
        .bytes(".musher.coordinator.v1.Log.bytes")
        .btree_map(".")
        .compile_fds(files)?;
    Ok(())
}
