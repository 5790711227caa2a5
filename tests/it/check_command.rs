//! `waybill check` and the command line, as a shell sees them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn waybill(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit code, stdout, stderr.
fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = waybill(folder, arguments, &[]);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let folder = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| run(folder.path(), arguments).0;
    assert_eq!(code(&[]), Some(2));
    assert_eq!(code(&["chekc"]), Some(2));
    assert_eq!(code(&["check", "--prnit"]), Some(2));
    assert_eq!(code(&["check", "--config"]), Some(2));
    assert_eq!(code(&["user", "add", "anna"]), Some(2));
    assert_eq!(code(&["user", "add", "anna", "--role", "king"]), Some(2));
    assert_eq!(code(&["token", "create", "--role", "viewer", "--expires", "90"]), Some(2));
    assert_eq!(code(&["token", "create", "--role", "viewer", "--app", "a b"]), Some(2));
    assert_eq!(code(&["demo", "--config", "waybill.toml"]), Some(2));
    assert_eq!(code(&["check", "--config", "missing.toml"]), Some(1));
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["--version"]), Some(0));
    assert_eq!(code(&["check"]), Some(0));
}

#[test]
fn every_help_goes_to_stdout_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        "run",
        "demo",
        "check",
        "dkim",
        "user add",
        "user list",
        "user passwd",
        "user disable",
        "token create",
        "token list",
        "token revoke",
    ] {
        let mut arguments: Vec<&str> = command.split(' ').collect();
        arguments.push("--help");
        let (code, stdout, stderr) = run(folder.path(), &arguments);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{command}");
        assert!(stdout.contains(&format!("  waybill {command}")), "{command}: {stdout}");
        assert!(stdout.contains("--config <FILE>"), "{command}");
    }
}

#[test]
fn a_file_that_can_not_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(folder.path(), &["check", "--config", "missing.toml"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with("missing.toml: the configuration can not be read: No such file"));
    let (code, _, stderr) = run(folder.path(), &["check", "--config", "."]);
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with(".: the configuration can not be read: Is a directory"), "{stderr}");
    fs::write(folder.path().join("latin1.toml"), b"# ok\nhostname = 'caf\xe9'\n").unwrap();
    let (code, _, stderr) = run(folder.path(), &["check", "--config", "latin1.toml"]);
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("latin1.toml:2:16: the configuration is not UTF-8"), "{stderr}");
}

#[test]
fn the_configuration_is_found_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["option", "variable"] {
        let config = format!("hostname = '{name}.example'\n");
        fs::write(folder.path().join(format!("{name}.toml")), config).unwrap();
    }
    let printed = |arguments: &[&str], variable: &str| {
        let arguments = [&["check", "--print"], arguments].concat();
        text(&waybill(folder.path(), &arguments, &[("WAYBILL_CONFIG", variable)]).stdout)
    };
    let both = printed(&["--config", "option.toml"], "variable.toml");
    assert!(both.contains("hostname = \"option.example\""), "{both}");
    let variable = printed(&[], "variable.toml");
    assert!(variable.contains("hostname = \"variable.example\""), "{variable}");
    // Without either it is the system's file or the defaults, whichever this machine has.
    assert!(!printed(&[], "").contains(".example\""));
}

#[test]
fn print_gives_toml_alone_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    let config = "[[upstream]]\nhost = 'smtp.example.com'\nusername = 'u'\npassword = 'hunter2'\n\
                  [[app]]\nname = 'erp'\n[app.smtp]\nusername = 'erp'\npassword = { env = 'PW' }\n\
                  [app.sms.waybill]\ntoken = { credential = 'token' }\n";
    fs::write(&path, config).unwrap();
    fs::write(folder.path().join("token"), "hunter4\n").unwrap();
    let credentials = folder.path().display().to_string();
    let variables = [("PW", "hunter3"), ("CREDENTIALS_DIRECTORY", credentials.as_str())];
    let output = waybill(folder.path(), &["check", "--print", "--config", "w.toml"], &variables);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stdout.parse::<toml::Table>().is_ok(), "{stdout}");
    assert_eq!(stdout.matches("\"[hidden]\"").count(), 3, "{stdout}");
    for secret in ["hunter2", "hunter3", "hunter4"] {
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "{secret}");
    }
    fs::write(folder.path().join("printed.toml"), &stdout).unwrap();
    let (code, again, _) = run(folder.path(), &["check", "--print", "--config", "printed.toml"]);
    assert_eq!((code, again), (Some(0), stdout));
}

#[test]
fn mistakes_never_quote_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[[upstream]]\nhost = 'a.example'\nusername = 'u'\npassword = \"hunter2\\u007f\"\n\
                  [[app]]\nname = 'a'\n[app.smtp]\nusername = 'a'\npassword = [ 'hunter2' ]\n\
                  [app.sms.waybill]\ntoken = { hunter = 'hunter2' }\n\
                  [app.sms.gatewayapi]\ntoken = { env = '', file = 'hunter2' }\n\
                  [tracking]\npublic_url = 'https://u:hunter2@t.example/'\n\
                  [[dkim.key]]\ndomain = 'a.example'\nselector = 's'\nprivate_key = 'hunter2'\n\
                  [smtp]\npassword = 'hunter2'\n";
    fs::write(folder.path().join("w.toml"), config).unwrap();
    let (code, stdout, stderr) = run(folder.path(), &["check", "--config", "w.toml"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    for line in [4, 9, 11, 13, 15, 19, 21] {
        assert!(stderr.contains(&format!("w.toml:{line}:")), "{line}: {stderr}");
    }
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn a_run_needs_the_credentials_that_a_check_forgives() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        "[[upstream]]\nhost = 'a.example'\nusername = 'u'\npassword = { credential = 'c' }\n";
    fs::write(folder.path().join("w.toml"), config).unwrap();
    let (code, _, stderr) = run(folder.path(), &["check", "--config", "w.toml"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("warning: the credential \"c\""), "{stderr}");
    let (code, _, stderr) = run(folder.path(), &["run", "--config", "w.toml"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("CREDENTIALS_DIRECTORY is not set"), "{stderr}");
}
