//! `cyto doctor`: every missing or broken thing, and the command that mends it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use stack::addresses::{Addresses, RGW_PORT, ROUTER_FLIGHT_PORT, ROUTER_HTTP_PORT, ROUTER_HTTPS_PORT};
use stack::parts::Parts;
use stack::site::{self, Settings};

use crate::place::Place;
use crate::progress;

/// Room for parts and a site's first data.
const SPACE_MIB: u64 = 5 * 1024;

/// Programs of the machine that parts are fetched and run with, and Debian's package of each.
const TOOLS: &[(&str, &str)] = &[
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("tar", "tar"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("mvn", "maven"),
    ("python3", "python3"),
];

#[derive(clap::Args)]
pub struct Args {
    /// Mend what can be mended: fetch missing parts and, as root, install missing tools.
    #[arg(long)]
    fix: bool,
}

struct Check {
    what: String,
    /// What is right, or what is wrong and how to mend it.
    result: Result<String, String>,
}

impl Check {
    fn of(what: impl Into<String>, result: Result<String, String>) -> Self {
        Self { what: what.into(), result }
    }
}

pub async fn run(args: Args, place: &Place) -> anyhow::Result<ExitCode> {
    let parts = Parts::in_cache()?;
    if args.fix {
        install_tools()?;
        parts.mend(&progress::reporter()).await?;
    }
    let mut checks = tools();
    checks.push(Check::of("java", stack::java::find().map(|p| p.display().to_string()).map_err(|e| e.to_string())));
    checks.push(space(&place.state));
    for finding in parts.examine().await {
        let optional = parts.list().iter().any(|p| p.name == finding.part && p.only.is_some());
        let what = format!("part {}", finding.part);
        match finding.result {
            // Tests fetch these when they run.
            Err(reason) if optional => checks.push(Check::of(what, Ok(format!("not needed to run a site ({reason})")))),
            result => checks.push(Check::of(what, result)),
        }
    }
    checks.extend(programs(place));
    checks.extend(ports(place));
    Ok(tell(&checks))
}

fn tell(checks: &[Check]) -> ExitCode {
    for check in checks {
        match &check.result {
            Ok(detail) => println!("ok       {}: {detail}", check.what),
            Err(reason) => println!("MISSING  {}: {reason}", check.what),
        }
    }
    let broken = checks.iter().filter(|c| c.result.is_err()).count();
    if broken == 0 {
        println!("everything is there");
        return ExitCode::SUCCESS;
    }
    println!("{broken} to mend; `cyto doctor --fix` mends what can be mended by itself");
    ExitCode::FAILURE
}

fn on_path(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.is_file())?;
    Some(found.display().to_string())
}

fn tools() -> Vec<Check> {
    let check = |(program, package): &(&str, &str)| {
        Check::of(*program, on_path(program).ok_or_else(|| format!("not installed; apt-get install -y {package}")))
    };
    TOOLS.iter().map(check).chain([python_environments()]).collect()
}

/// Debian packs Python's environments apart from Python.
fn python_environments() -> Check {
    let works = Command::new("python3").args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status();
    let result = match works {
        Ok(status) if status.success() => Ok("there".to_owned()),
        _ => Err("not installed; apt-get install -y python3-venv".to_owned()),
    };
    Check::of("python3 venv", result)
}

fn install_tools() -> anyhow::Result<()> {
    let mut packages: Vec<&str> =
        TOOLS.iter().filter(|(p, _)| on_path(p).is_none()).map(|(_, package)| *package).collect();
    if python_environments().result.is_err() {
        packages.push("python3-venv");
    }
    if stack::java::find().is_err() {
        packages.push("openjdk-17-jre-headless");
    }
    if packages.is_empty() || !nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "--no-install-recommends"]).args(&packages).env("DEBIAN_FRONTEND", "noninteractive");
    let status = install.status().context("apt-get cannot be run")?;
    anyhow::ensure!(
        status.success(),
        "apt-get install {} failed; run apt-get update and try again",
        packages.join(" ")
    );
    Ok(())
}

fn space(state: &Path) -> Check {
    let result = stack::require_space(state, SPACE_MIB).map(|()| format!("at least {SPACE_MIB} MiB free"));
    Check::of("disk", result.map_err(|e| e.to_string()))
}

fn programs(place: &Place) -> Vec<Check> {
    let binaries = Settings::new(&place.state).binaries;
    let check = |name: &str| {
        let path = binaries.join(name);
        let there = path.is_file().then(|| path.display().to_string());
        Check::of(
            format!("program {name}"),
            there.ok_or_else(|| "not built; cargo build --workspace --bins".to_owned()),
        )
    };
    ["global", "cell", "router"].into_iter().map(check).collect()
}

/// Doors of the site that somebody else holds; nothing to say while the site itself runs.
fn ports(place: &Place) -> Vec<Check> {
    if let Some(cyto) = site::running(&place.state) {
        return vec![Check::of("ports", Ok(format!("the site runs (cyto, pid {})", cyto.pid)))];
    }
    let addresses = Addresses::default();
    let wanted = [
        ("router HTTP", addresses.router(), ROUTER_HTTP_PORT),
        ("router HTTPS", addresses.router(), ROUTER_HTTPS_PORT),
        ("router Flight SQL", addresses.router(), ROUTER_FLIGHT_PORT),
        ("object storage", addresses.ceph(), RGW_PORT),
    ];
    let check = |(what, ip, port)| {
        let address = SocketAddr::new(ip, port);
        let free = TcpListener::bind(address).map(|_| format!("{address} is free"));
        Check::of(what, free.map_err(|e| format!("{address}: {e}; see who has it: ss -ltnp 'sport = :{port}'")))
    };
    wanted.into_iter().map(check).collect()
}
