//! What can be asked to be built, as a string.
//!
//! ```text
//! derived path = path | path (! output)* ! outputs        from 1.30
//!              | path | path ! outputs                    before
//! outputs      = * | output (, output)*
//! ```
//!
//! Before 1.30 the path of a derivation stands for all of its outputs, and
//! the derivation itself cannot be asked for.

use nix_derivation::{DerivedPath, SingleDerivedPath, StorePath};

use super::version::Dialect;
use crate::wire::{DecodeError, Decoder, Encoder};

/// Outputs of outputs of outputs …; nobody has a use for three.
const MAX_DEPTH: usize = 16;

/// What the dialect cannot say of `path`, if anything.
pub(super) fn unsupported(path: &DerivedPath, dialect: &Dialect) -> Option<&'static str> {
    if dialect.has(30) {
        return None;
    }
    match path {
        DerivedPath::Opaque(path) => path
            .is_derivation()
            .then_some("a derivation instead of its outputs"),
        DerivedPath::Built {
            drv_path: SingleDerivedPath::Built { .. },
            ..
        } => Some("building a derivation that is built itself"),
        DerivedPath::Built {
            drv_path: SingleDerivedPath::Opaque(path),
            outputs,
        } => {
            let is_odd = outputs.is_empty() && !path.is_derivation();
            is_odd.then_some("all outputs of what is not a derivation")
        }
    }
}

/// Writes `path`.
pub fn encode(path: &DerivedPath, dialect: &Dialect, to: &mut Encoder) {
    let rendered = match path {
        DerivedPath::Built { drv_path, outputs } if outputs.is_empty() && !dialect.has(30) => {
            drv_path.render_legacy(to.store_dir())
        }
        DerivedPath::Opaque(_) | DerivedPath::Built { .. } => path.render_legacy(to.store_dir()),
    };
    to.string(&rendered);
}

/// Reads one; before 1.30, a derivation means all of its outputs.
pub async fn decode(dialect: &Dialect, from: &mut Decoder) -> Result<DerivedPath, DecodeError> {
    const FIELD: &str = "derived path";
    let offset = from.offset();
    let text = from.short(FIELD).await?;
    if text.matches('!').count() > MAX_DEPTH {
        let expected = format!("at most {MAX_DEPTH} levels of outputs");
        return Err(from.error(FIELD, offset, expected, format!("`{}`…", &text[..80])));
    }
    let path = DerivedPath::parse_legacy_in(from.store_dir(), &text).map_err(|error| {
        let expected = "a path, perhaps with outputs";
        from.error(FIELD, offset, expected, format!("`{text}` ({error})"))
    })?;
    Ok(match path {
        DerivedPath::Opaque(path) if path.is_derivation() && !dialect.has(30) => all_outputs(path),
        DerivedPath::Opaque(_) | DerivedPath::Built { .. } => path,
    })
}

fn all_outputs(path: StorePath) -> DerivedPath {
    DerivedPath::Built {
        drv_path: SingleDerivedPath::Opaque(path),
        outputs: Vec::new(),
    }
}

/// Writes a list.
pub fn encode_all(paths: &[DerivedPath], dialect: &Dialect, to: &mut Encoder) {
    to.count(paths.len());
    for path in paths {
        encode(path, dialect, to);
    }
}

/// Reads a list.
pub async fn decode_all(
    dialect: &Dialect,
    from: &mut Decoder,
) -> Result<Vec<DerivedPath>, DecodeError> {
    let mut paths = Vec::new();
    for _ in 0..from.count("derived paths").await? {
        paths.push(decode(dialect, from).await?);
    }
    Ok(paths)
}

/// Writes `path` in the form that only `SubmitOutput` has:
/// `0, path | 1, single, output`.
pub(super) fn encode_single(path: &SingleDerivedPath, to: &mut Encoder) {
    let (base, outputs) = path.components();
    for _ in &outputs {
        to.u64(1);
    }
    to.u64(0);
    to.path(base);
    for output in outputs {
        to.string(output);
    }
}

/// Reads one in that form.
pub(super) async fn decode_single(from: &mut Decoder) -> Result<SingleDerivedPath, DecodeError> {
    const FIELD: &str = "kind of derived path";
    let mut depth = 0;
    loop {
        let offset = from.offset();
        match from.u64(FIELD).await? {
            0 => break,
            1 if depth < MAX_DEPTH => depth += 1,
            other => {
                let expected = format!("0, or up to {MAX_DEPTH} times 1");
                return Err(from.error(FIELD, offset, expected, other.to_string()));
            }
        }
    }
    let mut path = SingleDerivedPath::Opaque(from.path("derived path").await?);
    for _ in 0..depth {
        path = SingleDerivedPath::Built {
            drv_path: Box::new(path),
            output: from.short("output name").await?,
        };
    }
    Ok(path)
}
