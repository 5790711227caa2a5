//! Users and tokens are kept by rules that hold however the call comes: over HTTP, over the control socket, or from
//! a command without a daemon.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use axum::http::Method;
use serde_json::{Value, json};
use waybill::account::{
    AccountError, AccountRefusal, Accounts, AppScope, NewUser, Role, UserEdit, UserName,
};
use waybill::archive::Archive;
use waybill::model::Secret;

use crate::support::admin::{Gateway, archive_settings, now};
use crate::support::daemon::{Daemon, Setup, free_port};
use crate::support::tools;

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn new(text: &str, role: Role) -> NewUser {
    NewUser { name: name(text), role, scope: AppScope::All }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, AccountError>) -> AccountRefusal {
    match result {
        Err(AccountError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let gateway = Gateway::start().await;
    let accounts = &gateway.accounts;
    let password = || secret("correct horse battery");
    accounts.add_user(new("anna", Role::Admin), password(), now()).await.unwrap();
    accounts.add_user(new("bo", Role::Admin), password(), now()).await.unwrap();
    accounts.add_user(new("eva", Role::Viewer), password(), now()).await.unwrap();
    // Two at one time: exactly one is let go.
    let (one, two) = tokio::join!(
        accounts.disable_user(name("anna"), now()),
        accounts.disable_user(name("bo"), now()),
    );
    assert!(one.is_ok() != two.is_ok());
    let left = if one.is_ok() { "bo" } else { "anna" };
    let refused = accounts.disable_user(name(left), now()).await;
    assert_eq!(refusal(refused), AccountRefusal::LastAdmin(name(left)));
    accounts.disable_user(name("eva"), now()).await.unwrap();
    let nobody = accounts.disable_user(name("nobody"), now()).await;
    assert_eq!(refusal(nobody), AccountRefusal::NoSuchUser(name("nobody")));
}

#[tokio::test]
async fn passwords_are_checked_and_stored_as_hashes() {
    let gateway = Gateway::start().await;
    let accounts = &gateway.accounts;
    let short = accounts.add_user(new("anna", Role::Admin), secret("short"), now()).await;
    assert_eq!(refusal(short), AccountRefusal::PasswordTooShort);
    accounts
        .add_user(new("anna", Role::Admin), secret("correct horse battery"), now())
        .await
        .unwrap();
    let again =
        accounts.add_user(new("ANNA", Role::Viewer), secret("correct horse battery"), now()).await;
    assert_eq!(refusal(again), AccountRefusal::UserExists(name("anna")));
    let record = gateway.archive.users().unwrap().remove(0);
    assert!(record.password_hash.starts_with("$argon2id$"));
    let who = |user: &str, password: &str| {
        let (user, password) = (name(user), secret(password));
        async move { accounts.check_password(&user, password).await.unwrap() }
    };
    assert!(who("anna", "correct horse batterx").await.is_none());
    assert!(who("bo", "correct horse battery").await.is_none());
    let identity = who("Anna", "correct horse battery").await.unwrap();
    assert_eq!((identity.actor.to_string().as_str(), identity.role), ("user anna", Role::Admin));
    accounts.set_password(name("anna"), secret("another long password")).await.unwrap();
    assert!(who("anna", "correct horse battery").await.is_none());
    assert!(who("anna", "another long password").await.is_some());
    accounts
        .add_user(new("bo", Role::Admin), secret("correct horse battery"), now())
        .await
        .unwrap();
    accounts.disable_user(name("bo"), now()).await.unwrap();
    assert!(who("bo", "correct horse battery").await.is_none());
    let disabled = accounts.set_password(name("bo"), secret("another long password")).await;
    assert_eq!(refusal(disabled), AccountRefusal::UserDisabled(name("bo")));
    let edit = |disabled| UserEdit { role: None, scope: None, disabled };
    let other = UserEdit { role: Some(Role::Viewer), ..edit(None) };
    let disabled = accounts.edit_user(name("bo"), other, now()).await;
    assert_eq!(refusal(disabled), AccountRefusal::UserDisabled(name("bo")));
    let back = accounts.edit_user(name("bo"), edit(Some(false)), now()).await.unwrap();
    assert_eq!((back.role, back.disabled_at), (Role::Admin, None));
    assert!(who("bo", "correct horse battery").await.is_some(), "with the password of before");
    let gone = accounts.edit_user(name("bo"), edit(Some(true)), now()).await.unwrap();
    assert!(gone.disabled_at.is_some());
    assert!(who("bo", "correct horse battery").await.is_none());
    let last = accounts.edit_user(name("anna"), edit(Some(true)), now()).await;
    assert_eq!(refusal(last), AccountRefusal::LastAdmin(name("anna")));
    let back = accounts
        .add_user(new("bo", Role::Viewer), secret("one more long password"), now())
        .await
        .unwrap();
    assert_eq!((back.role, back.disabled_at), (Role::Viewer, None));
}

#[tokio::test]
async fn accounts_survive_a_restart_and_tokens_are_stored_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&archive_settings(dir.path())).unwrap();
    let accounts = Accounts::new(archive.clone());
    let wanted = waybill::account::NewToken {
        role: Role::Auditor,
        scope: AppScope::of(vec![waybill::model::AppName::parse("erp").unwrap()]),
        expires_at: None,
        note: Some("nightly report".into()),
        created_by: "the test".into(),
    };
    let (token, secret) = accounts.create_token(wanted, now()).await.unwrap();
    drop(accounts);
    archive.close().await;
    let archive = Archive::open(&archive_settings(dir.path())).unwrap();
    let accounts = Accounts::new(archive.clone());
    assert_eq!(accounts.tokens().unwrap(), [token]);
    let identity = accounts.identify(secret.expose(), now()).unwrap().unwrap();
    assert_eq!(identity.role, Role::Auditor);
    drop(accounts);
    archive.close().await;
    for file in ["records.redb", "index.redb"] {
        let bytes = std::fs::read(dir.path().join(file)).unwrap();
        let needle = secret.expose().as_bytes();
        assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{file}");
    }
}

#[tokio::test]
async fn tokens_are_managed_over_http() {
    let gateway = Gateway::start().await;
    let admin = gateway.token(Role::Admin, &[]).await;
    let body = json!({"role": "viewer", "apps": ["erp"], "expires_at": "2100-01-01T00:00:00Z", "note": "report"});
    let created = gateway.post(&admin, "/api/v1/tokens", Some(body)).await;
    assert_eq!(created.status, 201);
    let created = created.json();
    let (id, token) = (created["id"].as_str().unwrap(), created["token"].as_str().unwrap());
    assert_eq!(created["expires_at"], "2100-01-01T00:00:00.000Z");
    assert!(created["created_by"].as_str().unwrap().starts_with("token 0"), "{created}");
    let me = gateway.get(token, "/api/v1/me").await.json();
    assert_eq!(me, json!({"name": format!("token {id}"), "role": "viewer", "apps": ["erp"]}));
    let list = gateway.get(&admin, "/api/v1/tokens").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert!(!list.to_string().contains("wb_"), "{list}");
    let path = format!("/api/v1/tokens/{id}");
    let revoked = gateway.ask(Method::DELETE, &path, Some(&admin), None).await;
    assert!(revoked.json()["revoked_at"].is_string());
    assert_eq!(gateway.get(token, "/api/v1/me").await.status, 401);
    let unknown = "/api/v1/tokens/01JD5VZ7Q4N7W4T6Y5M8R2K3B1";
    let answer = gateway.ask(Method::DELETE, unknown, Some(&admin), None).await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"));
    for (body, field) in [
        (json!({"role": "root"}), "role"),
        (json!({"role": "viewer", "apps": ["a b"]}), "apps"),
        (json!({"role": "viewer", "expires_at": "soon"}), "expires_at"),
        (json!({"role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}), "expires_at"),
        (json!({"role": "viewer", "note": "a\nb"}), "note"),
    ] {
        let answer = gateway.post(&admin, "/api/v1/tokens", Some(body.clone())).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-body"), "{body}");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{body}");
    }
}

#[tokio::test]
async fn users_are_managed_over_http() {
    let gateway = Gateway::start().await;
    let admin = gateway.token(Role::Admin, &[]).await;
    let anna = json!({"name": "anna", "role": "admin", "password": "correct horse battery"});
    let added = gateway.post(&admin, "/api/v1/users", Some(anna.clone())).await;
    assert_eq!((added.status, &added.json()["apps"]), (201, &Value::Null));
    assert!(!added.json().to_string().contains("argon2"));
    let again = gateway.post(&admin, "/api/v1/users", Some(anna)).await;
    assert_eq!((again.status, again.problem().as_str()), (409, "conflict"));
    let disable = gateway.post(&admin, "/api/v1/users/anna/disable", None).await;
    assert_eq!((disable.status, disable.problem().as_str()), (409, "conflict"));
    let short = json!({"password": "short"});
    let answer = gateway.post(&admin, "/api/v1/users/anna/password", Some(short)).await;
    assert_eq!(answer.json()["errors"][0]["field"], "password");
    let wrong = json!({"name": "a b", "role": "boss", "password": "correct horse battery"});
    let answer = gateway.post(&admin, "/api/v1/users", Some(wrong)).await;
    let fields: Vec<Value> =
        answer.json()["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["name", "role"]);
}

/// Runs the program with this configuration.
fn waybill(config: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn stderr(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The same commands, in whatever way they reach the accounts.
fn commands_work(config: &Path) {
    let password = "correct horse battery\n";
    let added =
        waybill(config, &["user", "add", "anna", "--role", "admin", "--password-stdin"], password);
    assert_eq!(stdout(&added), "The user anna was added with the role admin.\n");
    let again =
        waybill(config, &["user", "add", "anna", "--role", "admin", "--password-stdin"], password);
    assert!(stderr(&again).contains("there is a user anna already"));
    let short = waybill(config, &["user", "passwd", "anna", "--password-stdin"], "short\n");
    assert!(stderr(&short).contains("a password has at least 12 characters"));
    let last = waybill(config, &["user", "disable", "anna"], "");
    assert!(stderr(&last).contains("anna is the last administrator"));
    let token =
        stdout(&waybill(config, &["token", "create", "--role", "viewer", "--expires", "90d"], ""));
    assert!(token.starts_with("wb_") && token.trim_end().len() == 46, "{token}");
    let list = stdout(&waybill(config, &["token", "list"], ""));
    assert!(list.contains("viewer") && list.contains("local user"), "{list}");
    assert!(!list.contains("wb_"), "{list}");
    let id = list.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    assert_eq!(
        stdout(&waybill(config, &["token", "revoke", id], "")),
        format!("The token {id} is revoked.\n")
    );
    let users = stdout(&waybill(config, &["user", "list"], ""));
    assert!(users.lines().nth(1).unwrap().starts_with("anna  admin  all "), "{users}");
}

#[test]
fn commands_work_without_a_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("waybill.toml");
    std::fs::write(&config, format!("data_dir = {:?}\n", dir.path().join("data"))).unwrap();
    commands_work(&config);
    let wrong = waybill(&config, &["user", "disable", "a b"], "");
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn commands_work_beside_a_daemon_and_after_its_death() {
    let mut daemon = Daemon::start(&Setup::relaying_to(free_port()));
    commands_work(daemon.config());
    let socket = daemon.folder().join("data/control.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others can reach the control socket");
    // A killed daemon leaves its socket behind; nobody answers there, so it counts as none.
    daemon.kill();
    assert!(socket.exists());
    assert!(stdout(&waybill(daemon.config(), &["user", "list"], "")).contains("anna"));
    // The next daemon replaces it and knows what was done meanwhile.
    daemon.start_again();
    let users = stdout(&waybill(daemon.config(), &["user", "list"], ""));
    assert!(users.contains("anna"), "{users}");
    // A daemon that can not be reached still has the archive: that is said, and nothing is done.
    std::fs::remove_file(&socket).unwrap();
    let told = stderr(&waybill(daemon.config(), &["user", "list"], ""));
    assert!(told.contains("another process uses the data folder"), "{told}");
    assert!(daemon.stop().success(), "{}", daemon.log());
    let log = daemon.log();
    assert!(!log.contains("wb_") && !log.contains("correct horse"), "{log}");
}

/// Files that root makes in the folder of the daemon's user would lock the daemon out.
#[test]
fn root_does_not_open_the_archive_of_somebody_else() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    if std::os::unix::fs::chown(&data, Some(12_345), None).is_err() {
        tools::skip("only root can give a folder away");
        return;
    }
    let config = dir.path().join("waybill.toml");
    std::fs::write(&config, format!("data_dir = {data:?}\n")).unwrap();
    let told = stderr(&waybill(&config, &["user", "list"], ""));
    assert!(told.contains("belongs to the user with uid 12345"), "{told}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
}
