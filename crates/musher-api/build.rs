//! Compiles the service definitions without a `protoc` program.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/coordinator.proto", "proto/worker.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".musher.coordinator.v1.NarChunk.bytes")
        .bytes(".musher.coordinator.v1.Log.bytes")
        .bytes(".musher.coordinator.v1.LogChunk.bytes")
        .bytes(".musher.coordinator.v1.ImportMessage.chunk")
        .bytes(".musher.worker.v1.NarChunk.bytes")
        .bytes(".musher.worker.v1.Log.bytes")
        .bytes(".musher.worker.v1.Gift.chunk")
        .bytes(".musher.worker.v1.Path.start")
        .bytes(".musher.worker.v1.Ended.nar")
        .btree_map(".")
        .compile_fds(files)?;
    Ok(())
}
