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
    kubernetes::{self, KubernetesError, Look, Withdrawn},
    settings as control,
};
use ferrix_proxy::settings::EntryPoint;
use http::{HeaderName, HeaderValue, Method};
use tokio::{runtime, sync::watch, task::JoinSet};

use crate::{
    Program, Settings, check, colour, demo,
    diff::{self, Differences},
    echo,
    explain::{self, Question, Url},
    log, new,
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
  ferrix new app.localhost=127.0.0.1:3000 --run
                                            serve an app of yours that listens there
  ferrix run --files ./manifests            serve a folder of manifests, watching it
  ferrix run --config ferrix.yaml           the same, with settings
  ferrix check ./manifests                  what is wrong with it? (exit code 1 if anything)
  ferrix explain --files ./manifests GET http://example.com/api
                                            which rule gets this request, and why no other?
  ferrix diff ./old ./new                   which requests would be served differently?

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
    New(New),
    Check(Check),
    Explain(Explain),
    Diff(Diff),
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

/// Write manifests for apps that run already
///
/// Each host gets a file with a route, a Service and where the app listens. Several addresses for one
/// host share its requests. Nothing is overwritten.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ferrix new app.localhost=127.0.0.1:3000
  ferrix new app.localhost=localhost:3000 api.localhost=localhost:8080 --run
  ferrix new '*.example.com=10.0.0.5:8080' '*.example.com=10.0.0.6:8080' --folder ./manifests

Browsers and curl send names that end in .localhost to this machine.")]
struct New {
    /// The folder to write to, which is made where there is none
    #[arg(long, value_name = "FOLDER", default_value = "manifests")]
    folder: PathBuf,
    /// The settings file (YAML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve the folder right away, as ferrix run does
    #[arg(long)]
    run: bool,
    /// The host of requests, and where they go
    #[arg(required = true, value_name = "HOST=ADDRESS:PORT")]
    apps: Vec<new::App>,
}

/// Say all that is wrong with folders of manifests, or with a cluster
///
/// Each finding is a line of file, line, object and advice. The exit code is 1 if something would
/// not be served as written, else 0. A cluster is only read.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ferrix check ./manifests
  ferrix check --config ferrix.yaml --format json ./base ./overlay
  kubectl get fir,services,endpointslices -A -o yaml | ferrix check -
  ferrix check --kubeconfig ~/.kube/config
  kubectl -n ferrix exec deploy/ferrix -- ferrix check --config /etc/ferrix/ferrix.yaml

Without FOLDER, the source of the settings is checked.")]
struct Check {
    /// The settings file, for the names of entry points
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the objects of this cluster
    #[arg(long, value_name = "FILE", conflicts_with = "folders")]
    kubeconfig: Option<PathBuf>,
    /// How findings are written
    #[arg(long, value_enum, default_value_t)]
    format: check::Format,
    /// Folders, or files of any size, each checked by itself; -: what comes in
    #[arg(required_unless_present_any = ["config", "kubeconfig"], value_name = "FOLDER")]
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
  ferrix explain --files ./manifests --client 203.0.113.7 GET http://example.com/
  ferrix explain --kubeconfig ~/.kube/config GET http://example.com/
  kubectl -n ferrix exec deploy/ferrix -- \\
    ferrix explain --config /etc/ferrix/ferrix.yaml GET http://example.com/")]
struct Explain {
    #[command(flatten)]
    source: SourceArgs,
    /// Read the objects of this cluster
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    kubeconfig: Option<PathBuf>,
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

/// Say which requests two states of the objects serve differently
///
/// Compares by one request for each rule, or by those of an access log that Ferrix has written as
/// JSON: which rule serves it, which services it goes to, what filters do. Nothing is sent, and a
/// cluster is only read. The exit code is 0 if nothing differs, 1 if something does, and 2 if the
/// states cannot be compared.
#[derive(Debug, Args)]
#[command(override_usage = "ferrix diff [OPTIONS] [OLD] NEW")]
#[command(after_help = "\
Examples:
  ferrix diff ./old ./new
  ferrix diff --log access.json ./old ./new
  ferrix diff --kubeconfig ~/.kube/config ./new
  ferrix diff --config ferrix.yaml --output json ./old ./new

Without OLD, the state before is the cluster of --kubeconfig, or the source of the settings.")]
struct Diff {
    /// The settings file, for entry points, hosts and paths
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The objects of this cluster are the state before
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Compare by the requests of this access log (access_log.format: json); -: what comes in
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How differences are written
    #[arg(long, value_enum, default_value_t)]
    output: diff::Output,
    /// Two folders of manifests, or files; or one that a cluster is compared with
    #[arg(required = true, num_args = 1..=2, value_names = ["OLD", "NEW"])]
    folders: Vec<PathBuf>,
}

/// Take back the statuses that an installation has written
///
/// For whoever is about to uninstall Ferrix, or finds statuses of one that is gone. The last good
/// versions of routes that it has kept go with them. The replicas that run are told to write none for
/// two minutes. The exit code is 1 where one is left.
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
    /// New manifests.
    #[error(transparent)]
    New(#[from] new::Error),
    /// A folder of manifests.
    #[error(transparent)]
    Folder(#[from] files::FolderError),
    /// Nothing to explain.
    #[error(
        "there are no objects to look at: name a folder of manifests, a cluster with --kubeconfig \
         FILE, or settings with a source with --config FILE"
    )]
    NoSource,
    /// A cluster.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// A folder to check.
    #[error(transparent)]
    Check(#[from] check::Error),
    /// A question.
    #[error(transparent)]
    Explain(#[from] explain::Error),
    /// States that are to be compared.
    #[error("a cluster is compared with one folder: leave OLD out, or --kubeconfig")]
    TwoBefore,
    /// An access log.
    #[error(transparent)]
    AccessLog(#[from] diff::LogError),
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
        Command::New(new) => write_manifests(new),
        Command::Check(check) => check_folders(&check),
        Command::Explain(explain) => explain_request(explain),
        Command::Diff(diff) => Ok(compare(&diff).unwrap_or_else(|error| {
            log::last_words(&format!("ferrix: {error}"));
            CANNOT_COMPARE.into()
        })),
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
            settings.source.files = Some(Files { path: input(path) });
            settings.source.kubernetes = None;
        }
        Ok(settings)
    }
}

/// `-` stands for standard input, as everywhere.
fn input(path: &Path) -> PathBuf {
    match path.as_os_str() == "-" {
        true => "/dev/stdin".into(),
        false => path.to_owned(),
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

fn write_manifests(args: New) -> Result<ExitCode, Error> {
    let folder = args.folder;
    let mut settings = read(args.config.as_deref())?;
    let mut text = String::new();
    for (path, what) in new::write(&folder, &args.apps)? {
        text += &format!("{}: {what}\n", path.display());
    }
    let (table, report) = files::load(&folder, &program::control_settings(&settings)?)?;
    let problems = report.problems().count();
    if problems > 0 {
        let problems = check::counted(problems, "problem");
        text += &format!(
            "\nThe folder has {problems}: ferrix check {}\n",
            folder.display()
        );
    }
    if !args.run {
        let config = args
            .config
            .map(|path| format!(" --config {}", path.display()));
        text += &format!(
            "\nServe the folder:\n  ferrix run{} --files {}\n",
            config.unwrap_or_default(),
            folder.display(),
        );
        let address = |it: &EntryPoint| (it.name.clone(), SocketAddr::new(it.address, it.port));
        let addresses: Vec<_> = settings.entry_points.iter().map(address).collect();
        print(&(text + &what_to_ask(&demo::commands(&table, &addresses))))?;
        return Ok(ExitCode::SUCCESS);
    }
    settings.source.files = Some(Files { path: folder });
    settings.source.kubernetes = None;
    log::start(&settings.log)?;
    single_threaded()?.block_on(async {
        let signals = Signals::new()?;
        let program = Program::start(settings).await?;
        announce(&program);
        let commands = demo::commands(&program.table(), &program.addresses());
        tell(text + &what_to_ask(&commands))?;
        Ok(exit_code(program.run(signals).await))
    })
}

fn what_to_ask(commands: &[String]) -> String {
    let mut text = "\nThen, in another terminal:\n".to_owned();
    for command in commands {
        text += &format!("  {command}\n");
    }
    text + "\nEdit the folder and ask again. In a cluster, endpoints on loopback are refused.\n"
}

fn check_folders(args: &Check) -> Result<ExitCode, Error> {
    let mut settings = read(args.config.as_deref())?;
    use_cluster(&mut settings, args.kubeconfig.as_deref());
    let mut folders: Vec<_> = args.folders.iter().map(|it| input(it)).collect();
    if folders.is_empty() {
        folders.extend(settings.source.files.iter().map(|files| files.path.clone()));
    }
    let control = program::control_settings(&settings)?;
    let mut out = Vec::new();
    let outcome = match &settings.source.kubernetes {
        _ if !folders.is_empty() => check::check(&control, &folders, args.format, &mut out)?,
        Some(cluster) => check::check_cluster(&look(cluster, &control)?, args.format, &mut out)?,
        None => return Err(Error::NoSource),
    };
    let out = String::from_utf8_lossy(&out);
    match args.format {
        check::Format::Text => print(&colour::for_stdout(&out))?,
        check::Format::Json => print(&out)?,
    }
    Ok(match outcome.problems {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn explain_request(args: Explain) -> Result<ExitCode, Error> {
    let mut settings = args.source.settings()?;
    use_cluster(&mut settings, args.kubeconfig.as_deref());
    let control = program::control_settings(&settings)?;
    let source = &settings.source;
    let (table, report, withheld) = match (&source.files, &source.kubernetes) {
        (Some(Files { path }), _) => {
            let (table, report) = files::load(path, &control)?;
            (table, report, Vec::new())
        }
        (None, Some(cluster)) => {
            let look = look(cluster, &control)?;
            (look.table, look.report, look.withheld)
        }
        (None, None) => return Err(Error::NoSource),
    };
    let question = Question {
        method: args.method,
        url: args.url,
        headers: args.headers.into_iter().collect(),
        client: args.client,
        entry_point: args.entry_point,
    };
    let mut out = explain::explain(&settings, &table, &report, &question)?;
    for reason in withheld {
        out += &format!("\nNot seen: {reason}\n");
    }
    let problems = report.problems().count();
    if problems > 0 {
        let problems = check::counted(problems, "problem");
        out += &match &settings.source.files {
            Some(Files { path }) => {
                let folder = path.display();
                format!("\nThe folder has {problems}, which may be why: ferrix check {folder}\n")
            }
            None => format!("\nThe cluster has {problems}, which may be why: ferrix check\n"),
        };
    }
    print(&colour::for_stdout(&explain::coloured(&out)))?;
    Ok(ExitCode::SUCCESS)
}

/// The exit code of `diff` where something keeps the states from being compared.
const CANNOT_COMPARE: u8 = 2;

fn compare(args: &Diff) -> Result<ExitCode, Error> {
    let mut settings = read(args.config.as_deref())?;
    use_cluster(&mut settings, args.kubeconfig.as_deref());
    let control = program::control_settings(&settings)?;
    let folder = |path: &PathBuf| -> Result<diff::State, Error> {
        let (table, _) = files::load(&input(path), &control)?;
        Ok(diff::State {
            name: path.display().to_string(),
            table,
            withheld: Vec::new(),
        })
    };
    let (before, after) = match (&args.folders[..], &settings.source) {
        ([_, _, ..], _) if args.kubeconfig.is_some() => return Err(Error::TwoBefore),
        ([old, new, ..], _) => (folder(old)?, folder(new)?),
        (
            [new],
            settings::Source {
                files: Some(files), ..
            },
        ) => (folder(&files.path)?, folder(new)?),
        (
            [new],
            settings::Source {
                kubernetes: Some(cluster),
                ..
            },
        ) => {
            let look = look(cluster, &control)?;
            let before = diff::State {
                name: "cluster".to_owned(),
                table: look.table,
                withheld: look.withheld,
            };
            (before, folder(new)?)
        }
        _ => return Err(Error::NoSource),
    };
    let (differences, requests) = match &args.log {
        Some(log) => diff::read_log(&settings, &before, &after, &input(log))?,
        None => {
            let requests = diff::Requests::of_rules(&settings, &before, &after);
            (Differences::between(&before, &after, &requests), requests)
        }
    };
    let text = differences.print(&before, &after, &requests, args.output);
    let text = text.map_err(io::Error::from)?;
    match args.output {
        diff::Output::Text => print(&colour::for_stdout(&text))?,
        diff::Output::Json => print(&text)?,
    }
    Ok(match differences.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn withdraw(args: Withdraw) -> Result<ExitCode, Error> {
    let settings = read(args.config.as_deref())?;
    log::start(&settings.log)?;
    program::install_crypto();
    let source = settings.source;
    let configured = source.kubernetes.and_then(|it| it.kubeconfig);
    let mut control = ferrix_control::Settings::new(Vec::new());
    control.ingress_class = source.ingress_class;
    control.gateway = Some(control::GatewaySettings {
        controller: settings.gateway.controller,
        ..control::GatewaySettings::default()
    });
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
    match withdrawn.kept {
        Some(0) => {}
        Some(kept) => {
            text += &format!("Last good versions of routes that it kept, removed: {kept}.\n")
        }
        None => text += "Whether it kept last good versions of routes is out of reach.\n",
    }
    if let Some(services @ 1..) = withdrawn.services {
        text += &format!("Services that it made for Gateways, removed: {services}.\n");
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

/// Where there is a kubeconfig file, the objects are those of its cluster.
fn use_cluster(settings: &mut Settings, kubeconfig: Option<&Path>) {
    if let Some(path) = kubeconfig {
        settings.source.files = None;
        settings.source.kubernetes = Some(settings::Kubernetes {
            kubeconfig: Some(path.to_owned()),
            ..settings.source.kubernetes.take().unwrap_or_default()
        });
    }
}

fn look(cluster: &settings::Kubernetes, control: &control::Settings) -> Result<Look, Error> {
    program::install_crypto();
    let options = program::kubernetes_options(cluster);
    Ok(single_threaded()?.block_on(kubernetes::look(&options, control))?)
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
        let commands = demo::commands(&table, &program.addresses());

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
