//! Against a server of a few lines that answers as each test says.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use expect_test::{Expect, expect};
use nix_archive::nar::{CaseHack, encode_path};
use tempfile::TempDir;

use super::super::{Builtin, BuiltinError, BuiltinOrder, Hosted};

/// Answers one connection after the other, and says what was asked.
struct Server {
    url: String,
    thread: JoinHandle<Vec<String>>,
}

impl Server {
    fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let thread = thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut peer, _) = listener.accept().unwrap();
                let mut request = String::new();
                for line in BufReader::new(peer.try_clone().unwrap()).lines() {
                    let line = line.unwrap().to_ascii_lowercase();
                    if line.is_empty() {
                        break;
                    }
                    let shown = ["get ", "range:", "if-range:", "authorization:"];
                    if shown.iter().any(|name| line.starts_with(name)) {
                        request += &format!("{line}\n");
                    }
                }
                asked.push(request);
                peer.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        Self { url, thread }
    }

    #[track_caller]
    fn was_asked(self, expected: Expect) {
        expected.assert_eq(&self.thread.join().unwrap().concat());
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

struct Fetched {
    scratch: TempDir,
    log: String,
    result: Result<(), BuiltinError>,
}

impl Fetched {
    fn out(&self) -> PathBuf {
        self.scratch.path().join("out")
    }

    fn text(&self) -> String {
        self.result.as_ref().unwrap();
        fs::read_to_string(self.out()).unwrap()
    }
}

fn fetch(url: &str, env: &[(&str, &str)], hosted: Hosted) -> Fetched {
    let scratch = tempfile::tempdir().unwrap();
    let mut env: std::collections::BTreeMap<String, Vec<u8>> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    env.insert("url".to_owned(), url.as_bytes().to_vec());
    let order = BuiltinOrder {
        env,
        outputs: [("out".to_owned(), scratch.path().join("out"))].into(),
        fetches: true,
        hosted,
    };
    let mut log = Vec::new();
    let result = Builtin::FetchUrl.run(&order, &mut log);
    Fetched {
        scratch,
        log: String::from_utf8(log).unwrap(),
        result,
    }
}

#[test]
fn a_file_is_fetched_and_nix_is_told_how_far_it_is() {
    let server = Server::start(vec![answer("200 OK", "", "contents")]);
    let fetched = fetch(
        &format!("{}/file", server.url),
        &[("executable", "1")],
        Hosted::default(),
    );
    assert_eq!(fetched.text(), "contents");
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(fetched.out()).unwrap());
    assert_eq!(mode & 0o777, 0o755);
    let log = fetched.log.replace(&server.url, "URL");
    expect![[r#"
        @nix {"action":"start","fields":["URL/file"],"id":1,"level":4,"parent":0,"text":"downloading 'URL/file'","type":101}
        @nix {"action":"result","fields":[8,8,0,0],"id":1,"type":105}
        @nix {"action":"result","fields":[8,8,0,0],"id":1,"type":105}
        @nix {"action":"stop","id":1}
    "#]]
    .assert_eq(&log);
    server.was_asked(expect![[r#"
        get /file http/1.1
    "#]]);
}

#[test]
fn a_download_that_broke_off_goes_on_where_it_was() {
    let broken =
        "HTTP/1.1 200 OK\r\nconnection: close\r\netag: \"v1\"\r\ncontent-length: 8\r\n\r\ncont";
    let rest = answer(
        "206 Partial Content",
        "content-range: bytes 4-7/8\r\n",
        "ents",
    );
    let server = Server::start(vec![broken.to_owned(), rest]);
    let fetched = fetch(&server.url, &[], Hosted::default());
    assert_eq!(fetched.text(), "contents");
    assert!(
        fetched.log.contains("retrying from offset 4 in "),
        "{}",
        fetched.log
    );
    server.was_asked(expect![[r#"
        get / http/1.1
        get / http/1.1
        range: bytes=4-
        if-range: "v1"
    "#]]);
}

#[test]
fn a_file_that_changed_meanwhile_is_fetched_whole() {
    let broken = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 8\r\n\r\ncont";
    let server = Server::start(vec![broken.to_owned(), answer("200 OK", "", "new")]);
    let fetched = fetch(&server.url, &[], Hosted::default());
    assert_eq!(fetched.text(), "new");
    server.was_asked(expect![[r#"
        get / http/1.1
        get / http/1.1
        range: bytes=4-
    "#]]);
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let busy = answer("503 Service Unavailable", "", "come back");
    let server = Server::start(vec![busy, answer("200 OK", "", "contents")]);
    let fetched = fetch(&server.url, &[], Hosted::default());
    assert_eq!(fetched.text(), "contents");
    assert!(fetched.log.contains("HTTP error 503"), "{}", fetched.log);
    assert!(fetched.log.contains("(attempt 1/5)"), "{}", fetched.log);
}

#[test]
fn what_is_not_there_is_asked_for_once() {
    let server = Server::start(vec![answer("404 Not Found", "", "no such file\n")]);
    let fetched = fetch(&server.url, &[], Hosted::default());
    let error = fetched.result.unwrap_err().to_string();
    expect![[r#"
        unable to download 'URL/': HTTP error 404

        no such file"#]]
    .assert_eq(&error.replace(&server.url, "URL"));
}

#[test]
fn redirections_are_followed_with_the_password_of_each_host() {
    let target = Server::start(vec![answer("200 OK", "", "contents")]);
    let address = target.url.replace("localhost", "127.0.0.1");
    let away = answer("302 Found", &format!("location: {address}/there\r\n"), "");
    let near = answer("301 Moved Permanently", "location: /moved\r\n", "");
    let first = Server::start(vec![near, away]);
    let hosted = Hosted {
        netrc: Some("machine localhost login me password secret".to_owned()),
        certificates: None,
    };
    let fetched = fetch(&first.url, &[], hosted);
    assert_eq!(fetched.text(), "contents");
    first.was_asked(expect![[r#"
        get / http/1.1
        authorization: basic bwu6c2vjcmv0
        get /moved http/1.1
        authorization: basic bwu6c2vjcmv0
    "#]]);
    target.was_asked(expect![[r#"
        get /there http/1.1
    "#]]);
}

#[test]
fn a_redirection_does_not_lead_to_files() {
    let away = answer("302 Found", "location: file:///etc/passwd\r\n", "");
    let server = Server::start(vec![away]);
    let fetched = fetch(&server.url, &[], Hosted::default());
    let error = fetched.result.unwrap_err().to_string();
    expect!["cannot fetch 'URL/': it leads to 'file:///etc/passwd'"]
        .assert_eq(&error.replace(&server.url, "URL"));
}

#[test]
fn files_of_the_host_are_fetched_as_the_sandbox_shows_them() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "contents").unwrap();
    let fetched = fetch(
        &format!("file://{}", file.display()),
        &[],
        Hosted::default(),
    );
    assert_eq!(fetched.text(), "contents");
}

#[test]
fn what_makes_no_sense_is_refused() {
    #[track_caller]
    fn refused(url: &str, expected: Expect) {
        let error = fetch(url, &[], Hosted::default()).result.unwrap_err();
        expected.assert_eq(&error.to_string());
    }
    refused(
        "nonsense",
        expect!["cannot fetch 'nonsense': relative URL without a base"],
    );
    refused(
        "s3://bucket/key",
        expect!["cannot fetch 's3://bucket/key': nothing is known of 's3'"],
    );
}

#[test]
fn certificates_that_are_none_are_no_reason_to_trust_anybody() {
    let hosted = Hosted {
        netrc: None,
        certificates: Some("-----BEGIN CERTIFICATE-----\nnonsense\n".to_owned()),
    };
    let error = fetch("https://localhost:1/", &[], hosted)
        .result
        .unwrap_err();
    assert!(matches!(error, BuiltinError::Client { .. }), "{error}");
}

#[test]
fn a_nar_is_unpacked() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "contents").unwrap();
    let mut nar = Vec::new();
    encode_path(&mut nar, &tree, CaseHack::Disabled).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&nar).unwrap();
    for (name, bytes) in [("plain.nar", nar), ("packed.nar.xz", xz.finish().unwrap())] {
        let file = scratch.path().join(name);
        fs::write(&file, bytes).unwrap();
        let url = format!("file://{}", file.display());
        let out = scratch.path().join(format!("{name}.out"));
        super::unpack(&url, &file, &out).unwrap();
        assert_eq!(fs::read(out.join("file")).unwrap(), b"contents");
    }
}
