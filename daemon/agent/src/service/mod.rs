//! `sessiond service`: installs the agent as a service of the user, removes it, says how it stands.
//!
//! What is to be done is first a [`Plan`], files and commands in order, and then either printed (`--dry-run`) or carried
//! out: what is shown is what would happen. Nothing here needs root, and nothing touches the account's data.
//! The units themselves lie in the repository's `systemd/`; its README explains each line.
//!
//! The service's environment is not that of the shell that installs it. What must be the same in several places, the state
//! directory in the sandbox and for the agent, the socket for the manager, the agent and frontends, is therefore decided
//! once, at the installation, and written into all of them.

mod launchd;
mod plan;
mod systemd;

pub use plan::{Plan, Step};

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use sessiond_config::{Config, Key};
use sessiond_proto::socket::Surroundings;

use crate::configured::given;

/// What can be done with the service.
#[derive(Subcommand)]
pub enum ServiceCommand {
    /// Install sessiond as a service of this user, and start it now and at each login
    Install(InstallArgs),
    /// Stop the service and remove it; the account and its messages stay
    Uninstall(ChangeArgs),
    /// Say whether the service is installed and runs; exit status 0 if it runs, 3 if not
    Status(ChangeArgs),
}

/// How to install.
#[derive(Args)]
pub struct InstallArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// Where the agent keeps everything [default: as `sessiond run` finds it now]
    #[arg(long, env = "SESSIOND_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Socket to serve on [default: as `sessionctl` finds it now]
    #[arg(long, env = "SESSIOND_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Further arguments of `sessiond run`, after `--`
    #[arg(last = true, value_name = "RUN-ARGUMENT")]
    run: Vec<OsString>,
}

/// What all of them take.
#[derive(Args)]
pub struct ChangeArgs {
    /// Only print the files and commands
    #[arg(long)]
    dry_run: bool,
    /// Which service manager [default: the one of this system]
    #[arg(long, value_enum, hide = true)]
    manager: Option<Manager>,
}

/// Who runs services of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Manager {
    /// Linux
    Systemd,
    /// macOS
    Launchd,
}

impl ChangeArgs {
    fn manager(&self) -> Manager {
        self.manager.unwrap_or(if cfg!(target_os = "macos") {
            Manager::Launchd
        } else {
            Manager::Systemd
        })
    }
}

/// Whose service it is.
struct User {
    /// The home directory.
    home: PathBuf,
    /// Where settings lie.
    config_home: PathBuf,
}

impl User {
    fn of_this_process() -> anyhow::Result<Self> {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = absolute("HOME").context("HOME is not set: whose service is it to be?")?;
        let config_home = absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        Ok(Self { home, config_home })
    }
}

/// The program, where it keeps things and where it is found.
struct Subject {
    user: User,
    /// The program itself.
    program: PathBuf,
    /// The agent's state directory.
    state_dir: PathBuf,
    /// Where the agent is found, if not at the usual place.
    socket: Option<PathBuf>,
    /// Further arguments of `run`.
    run: Vec<OsString>,
}

impl Subject {
    /// Both places as this shell and the configuration file have them: the service has another environment.
    fn new(user: User, args: InstallArgs, config: &Config) -> anyhow::Result<Self> {
        for option in ["--state-dir", "--socket"] {
            // The units name these places, too.
            anyhow::ensure!(
                given(&args.run, option).is_none(),
                "say {option} before the `--`: it is not only for `run`"
            );
        }
        let said = |given: Option<PathBuf>, key| {
            let in_file = || {
                Key::named(key)
                    .and_then(|key| config.get(key))
                    .map(PathBuf::from)
            };
            given.or_else(in_file).map(std::path::absolute).transpose()
        };
        let state_dir = said(args.state_dir, "state_dir")?
            .or_else(sessiond_config::state_dir)
            .context("no home directory: say where to keep everything with --state-dir")?;
        let usual = Surroundings {
            socket_variable: None,
            ..Surroundings::of_this_process()
        };
        let socket = match said(args.socket, "socket")? {
            Some(path) => Some(usual.socket_path(Some(&path))?),
            None => None,
        };
        Ok(Self {
            user,
            program: std::env::current_exe().context("where this program lies")?,
            state_dir,
            socket: socket.filter(|path| usual.socket_path(None).as_ref() != Ok(path)),
            run: args.run,
        })
    }

    /// The arguments of the program.
    fn arguments(&self) -> Vec<&OsStr> {
        let mut words = vec![
            "run".as_ref(),
            "--state-dir".as_ref(),
            self.state_dir.as_os_str(),
        ];
        if let Some(socket) = &self.socket {
            words.extend(["--socket".as_ref(), socket.as_os_str()]);
        }
        words.extend(self.run.iter().map(OsString::as_os_str));
        words
    }
}

/// Does what was asked. The exit code is 3 where `status` finds that the service does not run.
pub fn run(command: ServiceCommand) -> anyhow::Result<ExitCode> {
    let user = User::of_this_process()?;
    match command {
        ServiceCommand::Install(args) => {
            let (manager, dry_run) = (args.change.manager(), args.change.dry_run);
            let config = Config::load()?;
            let subject = Subject::new(user, args, &config)?;
            let plan = match manager {
                Manager::Systemd => systemd::install(&subject)?,
                Manager::Launchd => launchd::install(&subject)?,
            };
            carry_out(&plan, dry_run)?;
            if !dry_run {
                println!("{}", installed(&subject, &config));
            }
            Ok(ExitCode::SUCCESS)
        }
        ServiceCommand::Uninstall(args) => {
            let plan = match args.manager() {
                Manager::Systemd => systemd::uninstall(&user),
                Manager::Launchd => launchd::uninstall(&user),
            };
            carry_out(&plan, args.dry_run)?;
            if !args.dry_run {
                println!("The service is removed. The account and its messages stay.");
            }
            Ok(ExitCode::SUCCESS)
        }
        ServiceCommand::Status(args) => {
            let (files, mut ask) = match args.manager() {
                Manager::Systemd => (systemd::files(&user), systemd::ask()),
                Manager::Launchd => (launchd::files(&user), launchd::ask()),
            };
            if args.dry_run {
                println!("{}", plan::shown(&ask));
                return Ok(ExitCode::SUCCESS);
            }
            if !files.iter().any(|file| file.exists()) {
                println!("not installed: `sessiond service install` does that");
                return Ok(ExitCode::from(3));
            }
            let output = ask
                .output()
                .with_context(|| format!("cannot run {}", plan::shown(&ask)))?;
            let text = String::from_utf8_lossy(&output.stdout);
            let (running, words) = match args.manager() {
                Manager::Systemd => systemd::understand(&text),
                Manager::Launchd => launchd::understand(output.status.success(), &text),
            };
            println!("{words}");
            Ok(if running {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(3)
            })
        }
    }
}

/// What a person needs to know next. A socket that only this command line named, or this shell's environment, is not where
/// others look.
fn installed(subject: &Subject, config: &Config) -> String {
    let in_file = Key::named("socket").and_then(|key| config.get(key));
    let elsewhere = subject.socket.as_ref();
    let elsewhere = elsewhere.filter(|socket| in_file.map(PathBuf::from).as_ref() != Some(socket));
    let mut text =
        "sessiond runs now and at each login. `sessionctl status` shows how it stands.".to_owned();
    if let Some(socket) = elsewhere {
        text += &format!(
            "\nIts socket is {}: tell it to frontends as SESSIOND_SOCKET, and once to sessionctl by \
             `sessionctl config set socket`.",
            socket.display()
        );
    }
    text
}

fn carry_out(plan: &Plan, dry_run: bool) -> anyhow::Result<()> {
    if dry_run {
        print!("{plan}");
        return Ok(());
    }
    plan.carry_out()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(args: &[&str], file: &str) -> anyhow::Result<Subject> {
        #[derive(clap::Parser)]
        struct Install {
            #[command(flatten)]
            args: InstallArgs,
        }
        let user = User {
            home: "/h".into(),
            config_home: "/h/.config".into(),
        };
        let words = std::iter::once("install").chain(args.iter().copied());
        let args = <Install as clap::Parser>::try_parse_from(words)?.args;
        Subject::new(user, args, &Config::parse(file, "/c".into())?)
    }

    #[test]
    fn the_places_are_those_of_the_option_then_of_the_file() {
        let file = "state_dir = '/file/state'\nsocket = '/file/socket'";
        let given = ["--state-dir", "/given/state", "--socket", "/given/socket"];
        for (args, state_dir, socket) in [
            (&given[..], "/given/state", "/given/socket"),
            (&[], "/file/state", "/file/socket"),
        ] {
            let found = subject(args, file).unwrap();
            let words = ["run", "--state-dir", state_dir, "--socket", socket];
            assert_eq!(found.arguments(), words);
            assert_eq!(found.state_dir, PathBuf::from(state_dir));
            assert_eq!(found.socket, Some(socket.into()));
        }
        // Whatever the service's environment says, its state lies where the sandbox shows it.
        let found = subject(&["--", "--vault", "passphrase"], "").unwrap();
        let state_dir = sessiond_config::state_dir().unwrap();
        let words = [
            "run".as_ref(),
            "--state-dir".as_ref(),
            state_dir.as_os_str(),
        ];
        assert_eq!(found.arguments()[..3], words);
        assert_eq!(found.arguments()[3..], ["--vault", "passphrase"]);
        assert_eq!(found.socket, None);
    }

    #[test]
    fn a_socket_where_nobody_looks_is_told() {
        let told = |args: &[&str], file: &str| {
            let config = Config::parse(file, "/c".into()).unwrap();
            installed(&subject(args, file).unwrap(), &config)
        };
        let file = "socket = '/file'";
        assert!(!told(&[], "").contains("SESSIOND_SOCKET"));
        assert!(!told(&[], file).contains("SESSIOND_SOCKET"));
        assert!(!told(&["--socket", "/file"], file).contains("SESSIOND_SOCKET"));
        assert!(told(&["--socket", "/other"], file).contains("/other: tell it"));
    }

    #[test]
    fn relative_places_are_those_of_this_shell() {
        let found = subject(&["--state-dir", "state", "--socket", "socket"], "").unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(found.state_dir, here.join("state"));
        assert_eq!(found.socket, Some(here.join("socket")));
    }

    #[test]
    fn a_place_that_only_run_would_know_is_refused() {
        for option in ["--state-dir", "--socket"] {
            let joined = format!("{option}=/d");
            for words in [&["--", option, "/d"][..], &["--", &joined]] {
                let refused = subject(words, "").err().unwrap().to_string();
                assert!(refused.contains(option), "{refused}");
            }
        }
    }

    #[test]
    fn a_socket_that_no_address_holds_is_refused_before_anything_is_done() {
        let long = format!("/{}", "s".repeat(200));
        assert!(subject(&["--socket", &long], "").is_err());
    }
}
