//! Does what an order says. Everything that goes wrong here is the test's own
//! fault, and ends it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{stdin, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use musher_protocol::types::{BasicDerivation, BuildMode};
use musher_sandbox::{Bind, Launcher, Limits as SandboxLimits};
use musher_store::local::{LocalOptions, LocalStore};
use musher_worker::executor::{
    BuildOrder, Executor, Limits, LogEvent, Report, Sandboxing, Settings, host_program,
};
use nix_derivation::{CAHash, StorePath};
use tokio::sync::Notify;

use crate::messages::{Came, Order, Output};
use crate::resolve::{Built, read, resolve};

/// The only slot.
const SLOT: u32 = 0;

/// Reads an order, and writes what came of each derivation, as JSON.
pub(crate) fn drive() -> ExitCode {
    let order: Order = serde_json::from_reader(stdin()).expect("an order");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let came = runtime.block_on(build_all(&order));
    serde_json::to_writer(stdout(), &came).expect("a reader");
    ExitCode::SUCCESS
}

async fn build_all(order: &Order) -> Vec<Came> {
    let store = LocalStore::open(LocalOptions::below(&order.store)).expect("a store");
    let store = Arc::new(store);
    let roots = store.temp_roots().expect("roots");
    for (name, text) in &order.texts {
        store
            .add_text(name, text.as_bytes(), &BTreeSet::new(), &roots)
            .expect("a text");
    }
    let executor = Executor::open(store.clone(), settings(order)).expect("an executor");
    let mut built = Built::new();
    let mut all = Vec::new();
    for file in &order.derivations {
        let (path, derivation) = read(store.store_dir(), file);
        let Some((resolved, basic)) = resolve(&path, derivation, &built) else {
            all.push(Came {
                derivation: store.store_dir().render_path(&path),
                status: "DependencyFailed".into(),
                ..Came::default()
            });
            continue;
        };
        let came = Came {
            derivation: store.store_dir().render_path(&path),
            ..build(&executor, &store, order, &resolved, basic).await
        };
        for (name, output) in &came.outputs {
            let output = store.store_dir().parse_path(output.path.as_bytes());
            built.insert((path.clone(), name.clone()), output.expect("a path"));
        }
        all.push(came);
    }
    all
}

fn settings(order: &Order) -> Settings {
    let own = fs::read_link("/proc/self/exe").expect("a path");
    let launcher = Launcher {
        program: own.clone(),
        args: vec![musher_sandbox::INIT_COMMAND.into()],
    };
    let mut settings = Settings::new(order.builds.clone(), launcher);
    settings.builtins = Some(own);
    settings.features.clone_from(&order.features);
    if settings.systems == ["x86_64-linux"] {
        settings.systems.push("i686-linux".into());
    }
    let binds = order.sandbox_paths.iter();
    settings.sandbox_paths = binds.map(|bind| Bind::parse(bind)).collect();
    let mut seen: BTreeSet<_> = BTreeSet::new();
    for (target, program) in &order.programs {
        let binds = host_program(program, target).expect("a program");
        let new = binds
            .into_iter()
            .filter(|bind| seen.insert(bind.target.clone()));
        settings.sandbox_paths.extend(new);
    }
    if order.bare {
        settings.sandboxing = Sandboxing::Never;
    }
    settings.limits = SandboxLimits {
        disk_reserve: order.disk_reserve,
        ..SandboxLimits::default()
    };
    settings
}

fn base_16(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn build(
    executor: &Executor,
    store: &LocalStore,
    order: &Order,
    path: &StorePath,
    derivation: BasicDerivation,
) -> Came {
    let time = |millis: Option<u64>| millis.map(Duration::from_millis);
    let build_order = BuildOrder {
        drv_path: path.clone(),
        derivation,
        mode: match order.mode.as_str() {
            "check" => BuildMode::Check,
            "repair" => BuildMode::Repair,
            _ => BuildMode::Normal,
        },
        limits: Limits {
            max_silent_time: time(order.max_silent),
            timeout: time(order.timeout),
            max_log_size: order.max_log,
        },
        cores: order.cores,
        keep_failed: order.keep_failed,
        sandbox_paths: Vec::new(),
    };
    let cancel = Notify::new();
    let mut log = Vec::new();
    let mut sink = |event: LogEvent<'_>| {
        let line = match event {
            LogEvent::Line(line) => String::from_utf8_lossy(line).into_owned(),
            LogEvent::Phase(phase) => format!("@phase {phase}"),
        };
        if order.cancel_at.as_ref() == Some(&line) {
            cancel.notify_one();
        }
        log.push(line);
    };
    let report = tokio::select! {
        report = executor.build(build_order, SLOT, &mut sink) => Some(report),
        () = cancel.notified() => None,
    };
    executor.vacated(SLOT).await;
    let came = Came {
        log,
        ..Came::default()
    };
    match report {
        Some(report) => told(store, report, came),
        None => came,
    }
}

fn told(store: &LocalStore, report: Report, came: Came) -> Came {
    let dir = store.store_dir();
    let outputs = report.outputs.iter().map(|(name, info)| {
        let output = Output {
            path: dir.render_path(&info.path),
            nar_hash: base_16(&info.nar_hash.0),
            nar_size: info.nar_size,
            references: info.references.iter().map(|r| dir.render_path(r)).collect(),
            ca: info.ca.as_ref().map(CAHash::to_nix_string),
        };
        (name.clone(), output)
    });
    Came {
        status: format!("{:?}", report.result.status),
        error: report.result.error.to_string(),
        fault: report.fault.map(|fault| format!("{fault:?}")),
        outputs: outputs.collect(),
        accounting: report.usage.source.to_string(),
        cpu: (report.usage.cpu_user + report.usage.cpu_system).as_micros(),
        peak_memory: report.usage.peak_memory,
        exit: report.exit.map(|exit| exit.to_string()),
        sandboxed: report.sandboxed,
        kept: report.kept,
        ..came
    }
}
