//! The command line: what can be asked for, and how each command ends.
//!
//! Results go to stdout, everything else to stderr. A command exits with 0 on success, 1 on
//! failure, and 2 when it was called wrongly. Passwords and tokens are never arguments: arguments
//! are seen by everybody on the machine.
//!
//! Each command has a file: `check`, `run`, `demo`, `user`, `token`, `dkim`, `reindex`, `verify`; `password` reads a password
//! from the terminal or from stdin, `control_client` finds the daemon or opens the archive.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod argument;
mod check;
mod control_client;
pub mod demo;
mod dkim;
mod listing;
mod password;
mod reindex;
mod run;
mod token;
mod user;
mod verify;

use crate::config::{Config, Environment, Loaded, Problem};

/// Where the configuration is when nobody says otherwise.
const SYSTEM_CONFIG: &str = "/etc/waybill/waybill.toml";

/// What a supervisor sees after a storage failure: a restart is right, and somebody should look.
const EXIT_STORAGE: u8 = 74;

/// A gateway between your applications and the outside world that archives, holds and relays every
/// message.
#[derive(Debug, Parser)]
#[command(name = "waybill", version, after_help = AFTER_HELP)]
struct Cli {
    /// The configuration; default: $WAYBILL_CONFIG, then /etc/waybill/waybill.toml if it is there,
    /// then built-in defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  waybill demo                      see everything work, with nothing installed
  waybill check                     find every mistake in the configuration
  waybill run                       start the gateway";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Run(run::RunArgs),
    /// Run a complete working system on loopback, with sample traffic
    Demo(demo::DemoArgs),
    /// Find every mistake in the configuration, before the gateway is started with it
    Check(check::CheckArgs),
    /// Manage the people who may look things up and act on them
    #[command(subcommand, after_help = user::GROUP_HELP)]
    User(user::UserCommand),
    /// Manage the tokens that open the API
    #[command(subcommand, after_help = token::GROUP_HELP)]
    Token(token::TokenCommand),
    /// Show what to publish for the DKIM keys, or compare them with a DNS text
    Dkim(dkim::DkimArgs),
    /// Check that nobody changed the security log and the operations log
    #[command(after_help = verify::HELP)]
    Verify,
    /// Build the search index anew from the archive
    #[command(after_help = reindex::HELP)]
    Reindex,
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration has errors; all findings.
    Config(Vec<Problem>),
    /// One sentence for the person at the terminal.
    Failed(String),
    /// The archive can not be written any more (`EX_IOERR` of sysexits(3)).
    Storage(String),
    /// The call itself is wrong in a way that the argument parser can not see.
    Usage(String),
}

/// Reads the arguments of this process, does what they say, and gives its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // When stdout or stderr is closed there is nobody left to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let environment = Environment::of_process();
    let given = cli.config.clone();
    let config = config_path(cli.config, std::env::var_os("WAYBILL_CONFIG"));
    let config = config.as_deref();
    let done = match &cli.command {
        Command::Run(args) => run::run(args, config, &environment),
        Command::Demo(args) => demo::demo(args, given.as_deref()),
        Command::Check(args) => check::check(args, config, environment),
        Command::User(command) => user::user(command, config, &environment),
        Command::Token(command) => token::token(command, config, &environment),
        Command::Dkim(args) => dkim::dkim(args, config, environment),
        Command::Verify => verify::verify(config, &environment),
        Command::Reindex => reindex::reindex(config, &environment),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(failure),
    }
}

fn end(failure: Failure) -> ExitCode {
    match failure {
        Failure::Config(problems) => {
            print_problems(&problems);
            ExitCode::FAILURE
        }
        Failure::Failed(text) => {
            eprintln!("waybill: {text}");
            ExitCode::FAILURE
        }
        Failure::Storage(reason) => {
            eprintln!("waybill: the archive is closed: {reason}");
            ExitCode::from(EXIT_STORAGE)
        }
        Failure::Usage(text) => {
            let error = Cli::command().error(clap::error::ErrorKind::ValueValidation, text);
            let _ = error.print();
            ExitCode::from(2)
        }
    }
}

/// The option, then the variable, then the system's file if it is there; `None` is the defaults.
fn config_path(option: Option<PathBuf>, variable: Option<OsString>) -> Option<PathBuf> {
    let variable = variable.filter(|value| !value.is_empty()).map(PathBuf::from);
    let system = || Path::new(SYSTEM_CONFIG).exists().then(|| PathBuf::from(SYSTEM_CONFIG));
    option.or(variable).or_else(system)
}

/// Reads the configuration for a command that needs it, and says on stderr what there is to warn
/// about.
pub(crate) fn load(path: Option<&Path>, environment: &Environment) -> Result<Loaded, Failure> {
    let loaded = Config::load(path, environment).map_err(Failure::Config)?;
    print_problems(&loaded.warnings);
    Ok(loaded)
}

fn print_problems(problems: &[Problem]) {
    for problem in problems {
        eprintln!("{problem}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declarations_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_option_comes_before_the_variable() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(config_path(path("a"), Some("b".into())), path("a"));
        assert_eq!(config_path(None, Some("b".into())), path("b"));
        assert_ne!(config_path(None, Some("".into())), path(""));
    }

    #[test]
    fn every_command_has_an_example() {
        fn visit(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{path}");
            command.get_subcommands().for_each(|inner| visit(inner, &path));
        }
        visit(&Cli::command(), "");
    }
}
