//! `sessiond service`: installs the agent as a service of the user, removes it, says how it stands.
//!
//! What is to be done is first a [`Plan`], files and commands in order, and then either printed (`--dry-run`) or carried
//! out: what is shown is what would happen. Nothing here needs root, and nothing touches the account's data.
//! The units themselves lie in the repository's `systemd/`; its README explains each line.

mod launchd;
mod plan;
mod systemd;

pub use plan::{Plan, Step};

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

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
    /// Where the agent keeps everything [default: $XDG_STATE_HOME/sessiond or ~/.local/state/sessiond]
    #[arg(long, env = "SESSIOND_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
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

/// The program and where it keeps things, as the service is to find them.
struct Subject {
    /// The program itself.
    program: PathBuf,
    /// The user's home directory.
    home: PathBuf,
    /// Where the user's settings lie.
    config_home: PathBuf,
    /// The agent's state directory.
    state_dir: PathBuf,
    /// Further arguments of `run`.
    run: Vec<OsString>,
}

impl Subject {
    fn new(state_dir: Option<PathBuf>, run: Vec<OsString>) -> anyhow::Result<Self> {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = absolute("HOME").context("HOME is not set: whose service is it to be?")?;
        let config_home = absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let mut run = run;
        let state_dir = match state_dir {
            Some(dir) => {
                let dir = std::path::absolute(dir)?;
                run.splice(0..0, ["--state-dir".into(), dir.clone().into()]);
                dir
            }
            None => sessiond_config::state_dir()
                .context("no home directory: say where to keep everything with --state-dir")?,
        };
        Ok(Self {
            program: std::env::current_exe().context("where this program lies")?,
            home,
            config_home,
            state_dir,
            run,
        })
    }
}

/// Does what was asked. The exit code is 3 where `status` finds that the service does not run.
pub fn run(command: ServiceCommand) -> anyhow::Result<ExitCode> {
    match command {
        ServiceCommand::Install(args) => {
            let subject = Subject::new(args.state_dir, args.run)?;
            let plan = match args.change.manager() {
                Manager::Systemd => systemd::install(&subject)?,
                Manager::Launchd => launchd::install(&subject)?,
            };
            carry_out(&plan, args.change.dry_run)?;
            if !args.change.dry_run {
                println!(
                    "sessiond runs now and at each login. `sessionctl status` shows how it stands."
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        ServiceCommand::Uninstall(args) => {
            let subject = Subject::new(None, Vec::new())?;
            let plan = match args.manager() {
                Manager::Systemd => systemd::uninstall(&subject),
                Manager::Launchd => launchd::uninstall(&subject),
            };
            carry_out(&plan, args.dry_run)?;
            if !args.dry_run {
                println!(
                    "The service is removed. The account and its messages stay in {}.",
                    subject.state_dir.display()
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        ServiceCommand::Status(args) => {
            let subject = Subject::new(None, Vec::new())?;
            let (files, mut ask) = match args.manager() {
                Manager::Systemd => (systemd::files(&subject), systemd::ask()),
                Manager::Launchd => (launchd::files(&subject), launchd::ask()),
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

fn carry_out(plan: &Plan, dry_run: bool) -> anyhow::Result<()> {
    if dry_run {
        print!("{plan}");
        return Ok(());
    }
    plan.carry_out()
}
