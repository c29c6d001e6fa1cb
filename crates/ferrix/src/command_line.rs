//! The command line: words in, one of the stages run, an exit code out.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use clap::{Args, Parser, Subcommand};
use ferrix_control::{
    files,
    kubernetes::{self, Withdrawn},
};
use http::{HeaderName, HeaderValue, Method};
use tokio::{runtime, sync::watch, task::JoinSet};

use crate::{
    Program, Settings, check, demo, echo,
    explain::{self, Question, Url},
    log,
    program::{self, Ended, StartError},
    settings::{self, Files},
    signals::Signals,
};

/// A reverse proxy and load balancer for Kubernetes.
///
/// Ferrix reads routes, Services and their endpoints as ordinary Kubernetes objects and serves
/// HTTP by them.
#[derive(Debug, Parser)]
#[command(
    name = "ferrix",
    version,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  ferrix demo                               try it: example routes, with backends that answer
  ferrix run --files ./manifests            serve a folder of manifests, watching it
  ferrix run --config ferrix.yaml           the same, with settings
  ferrix check ./manifests                  what is wrong with it? (exit code 1 if anything)
  ferrix explain --files ./manifests GET http://example.com/api
                                            which rule gets this request, and why no other?

'ferrix COMMAND --help' says more of each.
Settings are explained in docs/settings.md, the rest in docs/operations.md."
)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Run),
    Check(Check),
    Explain(Explain),
    /// Print the definitions of Ferrix's own kinds, for kubectl apply
    #[command(after_help = "Example:\n  ferrix crds | kubectl apply -f -")]
    Crds,
    Withdraw(Withdraw),
    Echo(EchoBackend),
    Demo(Demo),
}

/// Serve traffic until a signal
///
/// The first SIGTERM, SIGQUIT or SIGINT drains: not ready at once, still accepting for
/// server.drain_delay (not after Ctrl-C in a terminal), then waiting for what is in flight, at most
/// server.drain_timeout. The second ends at once. SIGHUP and SIGUSR1 open log files anew.
/// The variable FERRIX_LOG replaces log.level, for example FERRIX_LOG=info,ferrix_control=debug.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ferrix run --files ./manifests
  ferrix run --config ferrix.yaml
  FERRIX_LOG=debug ferrix run --config ferrix.yaml --files ./manifests

Without --config, the entry points are web on port 6190 and websecure (TLS) on 6191, and the
admin page is on 127.0.0.1:6192.")]
struct Run {
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Debug, Args)]
struct SourceArgs {
    /// The settings file (YAML); every key has a default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read objects from this folder of manifests, whatever the settings say
    #[arg(long, value_name = "FOLDER")]
    files: Option<PathBuf>,
}

/// Say all that is wrong with folders of manifests
///
/// Each finding is a line of file, line, object and advice. The exit code is 1 if something would
/// not be served as written, else 0.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ferrix check ./manifests
  ferrix check --config ferrix.yaml --format json ./base ./overlay")]
struct Check {
    /// The settings file, for the names of entry points
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How findings are written
    #[arg(long, value_enum, default_value_t)]
    format: check::Format,
    /// Folders, each checked by itself
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
}

/// Say which rule gets a request, and why no other does
///
/// Nothing is sent. Every rule for the request's host is named, with the reason why it lost.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ferrix explain --files ./manifests GET http://example.com/api
  ferrix explain --files ./manifests POST https://example.com/login -H 'X-Beta: yes'
  ferrix explain --files ./manifests --client 203.0.113.7 GET http://example.com/")]
struct Explain {
    #[command(flatten)]
    source: SourceArgs,
    /// Where the request comes in [default: what fits the scheme and the port of the URL]
    #[arg(long, value_name = "NAME")]
    entry_point: Option<String>,
    /// Who sends it
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client: IpAddr,
    /// A header field; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = explain::header_field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// GET, POST, ...
    #[arg(value_name = "METHOD")]
    method: Method,
    /// http://HOST/PATH or https://HOST/PATH
    #[arg(value_name = "URL")]
    url: Url,
}

/// Take back the statuses that an installation has written
///
/// For whoever is about to uninstall Ferrix, or finds statuses of one that is gone. The replicas that
/// run are told to write none for two minutes. The exit code is 1 where one is left.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl -n ferrix exec deployment/ferrix -- /ferrix withdraw --config /etc/ferrix/ferrix.yaml
  ferrix withdraw --kubeconfig ~/.kube/config --installation ferrix/ferrix --namespace shop")]
struct Withdraw {
    /// The settings file, for the class, the namespaces and the API server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to reach the API server, in place of the pod's service account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Whose statuses, as status.installation names it [default: those of these settings, here]
    #[arg(long, value_name = "NAMESPACE/NAME")]
    installation: Option<String>,
    /// Only in this namespace; may be given several times [default: those of the settings]
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Vec<String>,
}

/// Run a small backend that answers with what it was asked
///
/// HTTP/1.1 and HTTP/2 without TLS on one port. Paths that end in /sse stream events (?count=N,
/// ?interval=MILLISECONDS); a WebSocket gets back what it sends.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  ferrix echo --listen 127.0.0.1:9001 --listen 127.0.0.1:9002 --name api")]
struct EchoBackend {
    /// Where to listen; may be given several times
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9001")]
    listen: Vec<SocketAddr>,
    /// What answers call it [default: the address]
    #[arg(long)]
    name: Option<String>,
}

/// Serve a folder of manifests with backends that answer
///
/// Starts an echo backend on every loopback endpoint that the folder's EndpointSlices name, serves
/// the folder, and prints what to ask it.
#[derive(Debug, Args)]
struct Demo {
    /// The settings file (YAML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder
    #[arg(default_value = "examples/quickstart")]
    folder: PathBuf,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings file.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The program.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A folder of manifests.
    #[error(transparent)]
    Folder(#[from] files::FolderError),
    /// Nothing to explain.
    #[error("explain reads manifests from a folder: name it with --files FOLDER")]
    NoFolder,
    /// A folder to check.
    #[error(transparent)]
    Check(#[from] check::Error),
    /// A question.
    #[error(transparent)]
    Explain(#[from] explain::Error),
    /// A backend of the demonstration.
    #[error(transparent)]
    Demo(#[from] demo::Error),
    /// A backend.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// Standard output, or threads.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs a command to its end.
pub fn run(command_line: CommandLine) -> Result<ExitCode, Error> {
    match command_line.command {
        Command::Run(run) => serve(&run.source),
        Command::Check(check) => check_folders(&check),
        Command::Explain(explain) => explain_request(explain),
        Command::Crds => {
            print(&ferrix_api::crd_yaml())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Withdraw(args) => withdraw(args),
        Command::Echo(echo) => echo_for_ever(&echo),
        Command::Demo(demo) => demonstrate(demo),
    }
}

impl SourceArgs {
    fn settings(&self) -> Result<Settings, Error> {
        let mut settings = read(self.config.as_deref())?;
        if let Some(path) = &self.files {
            settings.source.files = Some(Files { path: path.clone() });
            settings.source.kubernetes = None;
        }
        Ok(settings)
    }
}

fn read(config: Option<&Path>) -> Result<Settings, settings::Error> {
    config.map_or_else(|| Ok(Settings::default()), Settings::read)
}

fn serve(source: &SourceArgs) -> Result<ExitCode, Error> {
    let settings = source.settings()?;
    log::start(&settings.log)?;
    single_threaded()?.block_on(async {
        let mut signals = Signals::new()?;
        let program = tokio::select! {
            program = Program::start(settings) => program?,
            // An API server may keep the start waiting for long.
            _ = signals.end() => return Ok(ExitCode::SUCCESS),
        };
        announce(&program);
        Ok(exit_code(program.run(signals).await))
    })
}

fn announce(program: &Program) {
    for (name, address) in program.addresses() {
        tracing::info!(entry_point = name, %address, "listening");
    }
    tracing::info!(address = %program.admin_address(), "admin page");
    let table = program.table();
    let problems = program.report().problems().count();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        generation = table.generation,
        rules = table.rules.len(),
        services = table.services.len(),
        problems,
        "serving",
    );
}

fn exit_code(ended: Ended) -> ExitCode {
    match ended {
        Ended::Drained { .. } => ExitCode::SUCCESS,
        Ended::AtOnce => ExitCode::FAILURE,
    }
}

fn check_folders(args: &Check) -> Result<ExitCode, Error> {
    let settings = read(args.config.as_deref())?;
    let settings = program::control_settings(&settings)?;
    let mut out = Vec::new();
    let outcome = check::check(&settings, &args.folders, args.format, &mut out)?;
    print(&String::from_utf8_lossy(&out))?;
    Ok(match outcome.problems {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn explain_request(args: Explain) -> Result<ExitCode, Error> {
    let settings = args.source.settings()?;
    let folder = match &settings.source.files {
        Some(files) => &files.path,
        None => return Err(Error::NoFolder),
    };
    let (table, report) = files::load(folder, &program::control_settings(&settings)?)?;
    let question = Question {
        method: args.method,
        url: args.url,
        headers: args.headers.into_iter().collect(),
        client: args.client,
        entry_point: args.entry_point,
    };
    let mut out = explain::explain(&settings, &table, &question)?;
    let problems = report.problems().count();
    if problems > 0 {
        let problems = check::counted(problems, "problem");
        out += &format!(
            "\nThe folder has {problems}, which may be why: ferrix check {}\n",
            folder.display(),
        );
    }
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

fn withdraw(args: Withdraw) -> Result<ExitCode, Error> {
    let settings = read(args.config.as_deref())?;
    log::start(&settings.log)?;
    program::install_crypto();
    let source = settings.source;
    let configured = source.kubernetes.and_then(|it| it.kubeconfig);
    let mut control = ferrix_control::Settings::new(Vec::new());
    control.ingress_class = source.ingress_class;
    control.namespaces = match args.namespace.is_empty() {
        true => source.namespaces,
        false => Some(args.namespace.into_iter().collect()),
    };
    let options = kubernetes::Options {
        kubeconfig: args.kubeconfig.or(configured),
        ..kubernetes::Options::default()
    };
    let withdrawal = kubernetes::withdraw(options, &control, args.installation);
    let withdrawn = single_threaded()?
        .block_on(withdrawal)
        .map_err(StartError::from)?;
    let Withdrawn {
        installation,
        objects,
        ..
    } = &withdrawn;
    let mut text = format!("Statuses of {installation} taken back: {objects}.\n");
    if !withdrawn.silenced {
        text += "Its Lease is out of reach: if it still runs, it writes them again.\n";
    }
    for key in &withdrawn.left {
        text += &format!("{key} has one still.\n");
    }
    print(&text)?;
    Ok(match withdrawn.left.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn echo_for_ever(args: &EchoBackend) -> Result<ExitCode, Error> {
    single_threaded()?.block_on(async {
        let mut signals = Signals::new()?;
        let (end, ended) = watch::channel(false);
        let mut backends = JoinSet::new();
        let mut text = String::new();
        for &address in &args.listen {
            let name = args.name.clone().unwrap_or_else(|| address.to_string());
            let echo = echo::Echo::bind(address, &name).await;
            let echo = echo.map_err(|error| Error::Listen { address, error })?;
            text += &format!("{name} answers on http://{}/\n", echo.address());
            let mut ended = ended.clone();
            backends.spawn(echo.serve(async move {
                let _ = ended.wait_for(|ended| *ended).await;
            }));
        }
        tell(text)?;
        signals.end().await;
        end.send_replace(true);
        Ok(tokio::select! {
            _ = backends.join_all() => ExitCode::SUCCESS,
            _ = signals.end() => ExitCode::FAILURE,
        })
    })
}

fn demonstrate(args: Demo) -> Result<ExitCode, Error> {
    let mut settings = read(args.config.as_deref())?;
    settings.source.files = Some(Files {
        path: args.folder.clone(),
    });
    settings.source.kubernetes = None;
    // Nothing but the person at the keyboard has to notice the end.
    settings.proxy.server.drain_delay = std::time::Duration::ZERO;
    log::start(&settings.log)?;
    single_threaded()?.block_on(async {
        let signals = Signals::new()?;
        let program = Program::start(settings).await?;
        let table = program.table();
        let backends = demo::start_backends(&table).await?;
        let commands = demo::commands(&table, program.addresses());

        let mut text = format!("\nFerrix serves {}.\n", args.folder.display());
        for (address, service) in &backends {
            text += &format!("  a backend of {service} answers on {address}\n");
        }
        match commands.is_empty() {
            true => text += "\nNo rule takes a simple request; ferrix check says more.\n",
            false => text += "\nTry, in another terminal:\n",
        }
        for command in &commands {
            text += &format!("  {command}\n");
        }
        text += &format!("  curl http://{}/table\n", program.admin_address());
        text += "\nEdit the folder and ask again. Ctrl-C ends it.\n";
        tell(text)?;
        Ok(exit_code(program.run(signals).await))
    })
}

/// A runtime to wait in. The work is done by threads of the program.
fn single_threaded() -> io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// Writes to standard output beside what goes on: a server does not wait for a reader.
fn tell(text: String) -> io::Result<()> {
    let write = move || {
        // Who reads nothing misses nothing; the server goes on.
        let _ = print(&text);
    };
    thread::Builder::new().spawn(write).map(drop)
}

/// Writes to standard output. Whoever closes it early, like `head`, has read enough.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
