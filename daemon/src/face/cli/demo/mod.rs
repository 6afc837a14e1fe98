//! `shoebox demo`: the whole product on two directories that stand in for drives.
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use clap::Args;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::card::Card;
use super::{Cx, Exit};
use crate::app::App;
use crate::face::address::Address;
use crate::face::control::{Client, Fault, FaultKind, Request, StatusReport};
use crate::logging;
use crate::model::account::DeviceKind;
use crate::settings::Settings;
use crate::work::news::PhotoNews;

mod folder;
mod furnish;
mod news;

use folder::{Folder, Kept};

const PERSON: &str = "anna";
const DEVICE: &str = "phone";

/// Try it out: two folders stand in for the drives
///
/// Makes a folder with two sub-folders, a and b, in place of drives, a person and a phone, and serves them. It
/// prints the address, the user and the password, and then a line whenever a photo is received, mirrored and proved.
/// Run it again and it goes on with the same folder and the same password. Nothing outside the folder is changed;
/// delete it and all is gone.
///
/// It listens on all addresses of this machine, so that a phone in the same network can reach it; whoever has no
/// password can do nothing. Use --listen 127.0.0.1:8080 to keep it to this machine. It speaks plain HTTP: use it
/// in a network you trust.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox demo
  shoebox demo --dir /tmp/box --listen 127.0.0.1:8080
  shoebox --config shoebox-demo/config.toml status")]
pub(super) struct Demo {
    /// The folder to use
    #[arg(long, value_name = "DIR", default_value = "shoebox-demo")]
    dir: PathBuf,
    /// Where to listen [default: 0.0.0.0:8080, or another port if that one is taken]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Print one JSON line once it answers: dav_url, web_url, user, password, person, device, config
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Facts<'a> {
    dav_url: String,
    web_url: String,
    user: &'a str,
    password: &'a str,
    person: &'a str,
    device: &'a str,
    config: String,
}

impl Demo {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        if cx.config.is_some() {
            let what = "the demo makes its own settings";
            return Err(Fault::new(FaultKind::BadRequest, what, "leave --config out").into());
        }
        let folder = Folder::make(&self.dir)?;
        self.refuse_second(&folder)?;
        let mut settings = folder.settings();
        logging::start(settings.log.level);
        settings.http.listen = vec![self.address(folder.kept().as_ref())];
        let app = App::start(settings.clone()).map_err(start_elsewhere)?;
        let listen = app.http_addr();
        settings.http.listen = vec![listen];
        folder.write_config(&settings)?;
        let news = app.pool().feed();
        let kept = furnish::furnish(app.pool(), &folder, listen)?;
        let here = Address::for_this_machine(listen);
        folder::wait_until_it_answers(listen)?;
        if self.json {
            cx.json(&Facts {
                dav_url: here.dav(),
                web_url: here.web(),
                user: kept.person.as_str(),
                password: &kept.password,
                person: kept.person.as_str(),
                device: kept.device.as_str(),
                config: folder.config().display().to_string(),
            })?;
        } else {
            introduce(cx.out, &folder, &settings, &here, &kept)?;
        }
        cx.out.flush()?;
        tell(news, self.json);
        Ok(Exit::Daemon(app.wait()?))
    }

    fn refuse_second(&self, folder: &Folder) -> anyhow::Result<()> {
        let client = Client::new(&folder.settings().control.socket);
        let there: Result<StatusReport, _> = client.call(&Request::Status {}, &mut |_| ());
        if there.is_ok() {
            let what = format!("a demo runs in {} already", folder.path().display());
            return Err(Fault::new(FaultKind::BadRequest, what, "use it, or give another --dir").into());
        }
        Ok(())
    }

    /// As told; else where it was last time, else port 8080, else any port that is free.
    fn address(&self, kept: Option<&Kept>) -> SocketAddr {
        let everywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        if let Some(listen) = self.listen {
            return listen;
        }
        let wished = [kept.map(|kept| kept.listen), Some(everywhere(8080))];
        let free = |at: &SocketAddr| std::net::TcpListener::bind(at).is_ok();
        wished.into_iter().flatten().find(free).unwrap_or(everywhere(0))
    }
}

fn introduce(
    out: &mut dyn Write,
    folder: &Folder,
    settings: &Settings,
    here: &Address,
    kept: &Kept,
) -> io::Result<()> {
    let address = Address::for_phones(settings);
    let config = folder.config();
    let config = config.display();
    // As it was called: nobody has it on the search path yet.
    let shoebox = std::env::args().next().unwrap_or_else(|| "shoebox".to_owned());
    writeln!(
        out,
        "Shoebox demo in {}: the folders a and b stand in for two drives.\n",
        folder.path().display()
    )?;
    let card = Card {
        address: &address,
        person: &kept.person,
        device: &kept.device,
        kind: DeviceKind::Phone,
        password: &kept.password,
    };
    card.facts(out)?;
    let (url, user, password) = (here.dav(), &kept.person, &kept.password);
    writeln!(out, "Send a photo from this machine:")?;
    writeln!(out, "  curl -T photo.jpg -u {user}:{password} {url}")?;
    writeln!(
        out,
        "  rclone copy photo.jpg :webdav: --webdav-url {url} --webdav-user {user} \
         --webdav-pass \"$(rclone obscure {password})\"\n"
    )?;
    writeln!(out, "Ask about it in another terminal:")?;
    writeln!(out, "  {shoebox} --config {config} status")?;
    writeln!(out, "  {shoebox} --config {config} receipt {user}/{}/photo.jpg\n", kept.device)?;
    writeln!(out, "Ctrl-C stops it; the photos stay. From here on, one line per photo and event:")
}

/// A port that is taken is no defect: another --listen cures it.
fn start_elsewhere(error: anyhow::Error) -> anyhow::Error {
    let taken = |cause: &io::Error| {
        matches!(cause.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
    };
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(taken) {
        let remedy = "give another address, or leave --listen out: it then finds a free port";
        return Fault::new(FaultKind::BadRequest, format!("{error:#}"), remedy).into();
    }
    error.context("could not start")
}

/// Prints news in the background until the process ends.
fn tell(news: Receiver<PhotoNews>, on_stderr: bool) {
    let zone = TimeZone::system();
    drop(std::thread::spawn(move || {
        for one in news {
            let line = news::line(&one, &zone);
            let told = if on_stderr {
                io::stderr().write_all(line.as_bytes())
            } else {
                io::stdout().write_all(line.as_bytes())
            };
            if told.is_err() {
                break;
            }
        }
    }));
}
