//! `cyto login`: by the browser (device flow) or by password.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::api::{Api, ApiError};
use super::credential::{TokenAnswer, exchange, save_session, session_path};
use super::site::Site;
use crate::place::Place;

#[derive(clap::Args)]
pub struct Args {
    /// Sign in with e-mail and password instead of the browser; the password is read from
    /// CYTO_PASSWORD or asked for.
    #[arg(long)]
    email: Option<String>,
    /// Forget the session.
    #[arg(long)]
    out: bool,
}

#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: String,
    user_code: String,
    verification_uri: String,
    expires_in: u64,
    interval: u64,
}

pub async fn run(args: Args, place: &Place) -> anyhow::Result<ExitCode> {
    let api = Api::new(&Site::read(place)?)?;
    if args.out {
        return sign_out(place);
    }
    let answer = match &args.email {
        Some(email) => by_password(&api, email).await?,
        None => by_device(&api).await?,
    };
    let refresh = answer.refresh_token.ok_or_else(|| anyhow!("the platform gave no session"))?;
    save_session(place, &refresh)?;
    println!("signed in{}", if answer.scope.is_empty() { String::new() } else { format!(" ({})", answer.scope) });
    Ok(ExitCode::SUCCESS)
}

fn sign_out(place: &Place) -> anyhow::Result<ExitCode> {
    match std::fs::remove_file(session_path(place)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("the session cannot be removed")
        }
        _ => {
            println!("signed out");
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn by_password(api: &Api, email: &str) -> anyhow::Result<TokenAnswer> {
    let password = match std::env::var("CYTO_PASSWORD") {
        Ok(password) => password,
        Err(_) => ask_password()?,
    };
    let request =
        api.request(Method::POST, "global", "/api/v1/sessions").json(&json!({ "email": email, "password": password }));
    Ok(api.json("sign in", request).await?)
}

/// Reads a line from the terminal without showing it.
fn ask_password() -> anyhow::Result<String> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("there is no terminal to ask for the password; set CYTO_PASSWORD");
    }
    print!("password: ");
    std::io::stdout().flush()?;
    let before = tcgetattr(&input)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&input, SetArg::TCSANOW, &silent)?;
    let mut line = String::new();
    let read = input.read_line(&mut line);
    tcsetattr(&input, SetArg::TCSANOW, &before)?;
    println!();
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

async fn by_device(api: &Api) -> anyhow::Result<TokenAnswer> {
    let form = [("client_id", "cyto")];
    let request = api.request(Method::POST, "global", "/oauth2/device_authorization").form(&form);
    let device: DeviceAnswer = api.json("begin the sign-in", request).await?;
    println!("open {} and enter {}", device.verification_uri, device.user_code);
    let deadline = Instant::now() + Duration::from_secs(device.expires_in);
    let mut pause = Duration::from_secs(device.interval.max(1));
    while Instant::now() < deadline {
        tokio::time::sleep(pause).await;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code".to_owned()),
            ("device_code", device.device_code.clone()),
            ("client_id", "cyto".to_owned()),
        ];
        match exchange(api, &form).await {
            Ok(answer) => return Ok(answer),
            Err(ApiError::Refused { code, .. }) if code == "authorization_pending" => {}
            // RFC 8628: every slow_down adds five seconds to all later pauses.
            Err(ApiError::Refused { code, .. }) if code == "slow_down" => pause += Duration::from_secs(5),
            Err(error) => return Err(error.into()),
        }
    }
    bail!("nobody entered the code in time")
}
