//! Derivations that nobody has built, and what becomes of them.

use musher_api::coordinator as api;
use musher_api::coordinator::build_news::News;
use musher_protocol::types::{BuildMode, BuildResult, BuildStatus, PathInfo, Text};
use musher_protocol::worker::{BodyItem, Request, Response};
use musher_store::deaf;
use nix_derivation::{
    DerivationBuilder, DerivedPath, SingleDerivedPath, StorePath, ValidatedDerivation,
};

use crate::coordinator::bounded;
use crate::host::{Client, Host};
use crate::values::{info, nar};

/// A derivation in the host's store that was not built.
pub(crate) struct Unbuilt {
    pub(crate) drv_path: StorePath,
    pub(crate) output: StorePath,
}

impl Unbuilt {
    pub(crate) async fn new(client: &mut Client, name: &str) -> Self {
        let drv: ValidatedDerivation = DerivationBuilder::new(name, "x86_64-linux", "/bin/sh")
            .input_addressed_output("out")
            .build()
            .expect("a derivation");
        let request = Request::AddTextToStore {
            name: format!("{name}.drv"),
            text: Text::from(String::from_utf8(drv.to_aterm_bytes()).expect("text")),
            references: [].into(),
        };
        let added = client.ask(request).await;
        assert_eq!(added, Ok(Response::Path(drv.drv_path())));
        let output = drv.resolved_outputs()["out"].path.clone();
        Self {
            drv_path: drv.drv_path(),
            output: output.expect("a path"),
        }
    }

    pub(crate) fn wanted(&self) -> DerivedPath {
        DerivedPath::Built {
            drv_path: SingleDerivedPath::Opaque(self.drv_path.clone()),
            outputs: vec!["out".to_owned()],
        }
    }

    /// Brings the output home, as a coordinator does before it says so.
    pub(crate) async fn bring_home(&self, host: &Host) -> api::RootEnd {
        let nar = nar(self.drv_path.name().as_bytes());
        let info = PathInfo {
            path: self.output.clone(),
            ..info("any", &nar)
        };
        let mut home = bounded(host.store().open()).await.expect("a connection");
        let request = Request::AddToStoreNar {
            info,
            repair: false,
            dont_check_sigs: true,
        };
        home.request(request).expect("a request");
        for item in [BodyItem::Chunk(nar.into()), BodyItem::End] {
            bounded(home.body(item))
                .await
                .expect("a store that takes it");
        }
        let added = bounded(home.outcome(&mut deaf)).await.expect("an answer");
        assert_eq!(added, Ok(Response::Unit));
        self.end([("out".to_owned(), self.output.to_absolute_path())], "")
    }

    pub(crate) fn end(
        &self,
        outputs: impl IntoIterator<Item = (String, String)>,
        culprit: &str,
    ) -> api::RootEnd {
        api::RootEnd {
            drv_path: self.drv_path.to_absolute_path(),
            outputs: outputs.into_iter().collect(),
            culprit: culprit.to_owned(),
        }
    }
}

pub(crate) fn build(wanted: &[&Unbuilt]) -> Request {
    Request::BuildPaths {
        paths: wanted.iter().map(|unbuilt| unbuilt.wanted()).collect(),
        mode: BuildMode::Normal,
    }
}

pub(crate) fn ended(status: BuildStatus, error: &str) -> News {
    News::Ended(api::BuildEnd {
        status: status as u32,
        error: error.to_owned().into_bytes(),
        ..Default::default()
    })
}

pub(crate) fn results(answer: Response) -> Vec<BuildResult> {
    let Response::KeyedBuildResults(results) = answer else {
        panic!("no results: {answer:?}");
    };
    results.into_iter().map(|(_, result)| result).collect()
}
