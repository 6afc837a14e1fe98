//! Composes settings, pool, workers and faces; runs them; stops them in one order. Decides nothing.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use jiff::SignedDuration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::face::control;
use crate::face::http::metrics::{DriveNumbers, MetricsInput, render};
use crate::face::http::tls::Moving;
use crate::face::http::{self, Face, HostPolicy, Immich};
use crate::model::copy::CopyState;
use crate::os::nfs::{self, Server};
use crate::os::{addresses, avahi, clock, places, systemd};
use crate::plan::announcing::{Offered, service_file};
use crate::plan::facts::{Facts, Limits};
use crate::plan::mirroring::Brake;
use crate::settings::{Plain, Settings, Wanted};
use crate::store::syscall;
use crate::work::appliance::Appliance;
use crate::work::certificates::{Keeper, Reached};
use crate::work::checksums::Checksums;
use crate::work::heal::Healer;
use crate::work::health::HealthCheck;
use crate::work::ingest::Ingest;
use crate::work::library::Library;
use crate::work::media::Looking;
use crate::work::mirror::Mirror;
use crate::work::offline::Offline;
use crate::work::parts::Parts;
use crate::work::pool::{Options, Pool, Wake};
use crate::work::previews::{Keeping, Previews};
use crate::work::scrub::{Manners, Scrub};
use crate::work::sharing::{Sharing, Terms};
use crate::work::snapshots::Snapshots;
use crate::work::supervisor::{Patience, Supervisor};
use crate::work::sweep::Sweep;
use crate::work::tree::Tree;
use crate::work::watch::DriveWatch;
use crate::work::watcher::Watcher;
use crate::work::worker::Waker;

/// The running daemon.
pub struct App {
    pool: Arc<Pool>,
    addresses: Vec<SocketAddr>,
    /// Where HTTPS answers.
    secure: Vec<SocketAddr>,
    /// Where avahi was told what to announce.
    announced: Option<PathBuf>,
    runtime: Runtime,
    supervisor: Arc<Supervisor>,
    stop: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
    signals: Signals,
}

impl App {
    /// Starts everything. Drives may be away: that is a finding, not a failure to start.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        // Before the first thread: each that allocates before it gets memory of its own to keep.
        syscall::keep_little_memory();
        let pool = Arc::new(Pool::new(options(&settings), Arc::new(clock::now)));
        let supervisor = Arc::new(Supervisor::new(Patience::default(), |code| std::process::exit(code)));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // One: it only passes bytes on, and a second would be woken for each piece of a body to find nothing to do.
            .worker_threads(1)
            .thread_name("http")
            .enable_all()
            .build()
            .context("could not start the HTTP runtime")?;
        // Before anything that a stop would have to put to rest: whoever hears that we are ready may ask us to end.
        let signals = Signals::listen(&runtime).context("could not wait for signals")?;
        survive_size_limit(&runtime)?;
        let (stop, stopped) = watch::channel(false);
        let facts = Arc::new(Mutex::new(Facts::default()));
        let mut app = Self {
            pool,
            addresses: Vec::new(),
            secure: Vec::new(),
            announced: None,
            runtime,
            supervisor,
            stop,
            serving: Vec::new(),
            signals,
        };
        app.listen(&settings, &facts, &stopped)?;
        app.answer(&settings, &stopped)?;
        app.work(&settings, &facts)?;
        let offered = app.announce(&settings);
        app.share(&settings, offered)?;
        app.feed_watchdog();
        systemd::ready();
        Ok(app)
    }

    fn listen(
        &mut self,
        settings: &Settings,
        facts: &Arc<Mutex<Facts>>,
        stopped: &watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let metrics = metrics(Arc::clone(&self.pool), Arc::clone(facts));
        let limits = http::Limits {
            connections: settings.http.connections,
            per_address: settings.http.per_ip,
            head_time: settings.http.header,
            body_idle: settings.http.idle,
            ..http::Limits::default()
        };
        let secure = bind(&settings.tls.listen)?;
        let everybody = settings.tls.plain == Plain::Redirect;
        let port = secure.first().map(std::net::TcpListener::local_addr).transpose()?.map(|at| at.port());
        let server = http::Server::new(Arc::new(Face {
            own: addresses::own,
            pool: Arc::clone(&self.pool),
            ingest: Ingest::new(Arc::clone(&self.pool)),
            parts: Parts::new(Arc::clone(&self.pool)),
            tree: Tree::new(Arc::clone(&self.pool)),
            library: Library::new(Arc::clone(&self.pool)),
            previews: previews(&self.pool, settings),
            immich: Immich {
                announced: settings.immich.version.parse().map_err(anyhow::Error::msg)?,
                phone_app: settings.immich.phone_app,
            },
            metrics,
            hosts: HostPolicy::new(own_names(settings)).known_as(settings.http.public_url.as_deref()),
            moving: Moving { port, everybody },
            limits,
        }));
        let plain = bind(&settings.http.listen)?.into_iter().map(|listener| (listener, false));
        for (listener, is_secure) in plain.chain(secure.into_iter().map(|listener| (listener, true))) {
            let known = if is_secure { &mut self.secure } else { &mut self.addresses };
            known.push(listener.local_addr()?);
            let listener = self.on_runtime(listener)?;
            let heart = self.supervisor.heart("accept", Duration::from_secs(60));
            self.attend(server.clone().serve((listener, is_secure), stopped.clone(), move || heart.beat()));
        }
        for listener in bind(&settings.sumu.listen)? {
            let listener = self.on_runtime(listener)?;
            let heart = self.supervisor.heart("accept-sumu", Duration::from_secs(60));
            self.attend(server.clone().serve_sumu(listener, stopped.clone(), move || heart.beat()));
        }
        Ok(())
    }

    fn on_runtime(&self, listener: std::net::TcpListener) -> anyhow::Result<tokio::net::TcpListener> {
        let _entered = self.runtime.enter();
        Ok(tokio::net::TcpListener::from_std(listener)?)
    }

    fn attend(&mut self, serving: impl Future<Output = std::io::Result<()>> + Send + 'static) {
        self.serving.push(self.runtime.spawn(async move {
            if let Err(e) = serving.await {
                log::error!("the HTTP listener ended: {e}");
            }
        }));
    }

    /// Has avahi say where the box is. Without it the box is found by its address: nothing depends on this.
    fn announce(&mut self, settings: &Settings) -> Offered {
        let port = |all: &[SocketAddr]| all.iter().find(|at| !at.ip().is_loopback()).map(SocketAddr::port);
        let takes_uploads = self.secure.is_empty() || settings.tls.plain == Plain::Lan;
        let offered = Offered {
            http: port(&self.addresses).map(|port| (port, takes_uploads)),
            https: port(&self.secure),
            nfs: settings.announce.nfs.clone(),
        };
        let directory = &settings.announce.directory;
        if offered != Offered::default() && told(directory, &offered) {
            self.announced = Some(directory.clone());
        }
        offered
    }

    /// Has the photos exported for the computers of the house, looks whether they can be read, and announces them while they can.
    fn share(&self, settings: &Settings, offered: Offered) -> anyhow::Result<()> {
        if settings.nfs.wanted == Wanted::Off {
            return Ok(());
        }
        let (pool, period, wanted) = (Arc::clone(&self.pool), settings.health.period, settings.nfs.wanted);
        let (path, directory) = (settings.nfs.path.clone(), settings.announce.directory.clone());
        let requests = settings.drives.requests.clone();
        self.spawn(None, move || {
            let (directory, offered, path) = (directory.clone(), offered.clone(), path.clone());
            let by_itself = offered.nfs.is_empty();
            let announced = path.display().to_string();
            let announce = move |works: bool| {
                if by_itself {
                    let nfs = if works { announced.clone() } else { String::new() };
                    told(&directory, &Offered { nfs, ..offered.clone() });
                }
            };
            let server = Server { at: NFS, patience: Duration::from_secs(5) };
            let requests = requests.clone();
            let asked = requests.clone();
            let can_be = move || asked.as_ref().is_some_and(|socket| socket.exists()) && nfs::is_installed();
            let is_wanted = Box::new(move || wanted == Wanted::On || can_be());
            let terms = Terms { server, path, is_wanted, requests, period, announce: Box::new(announce) };
            Box::new(Sharing::new(Arc::clone(&pool), terms))
        })
    }

    fn answer(&self, settings: &Settings, stopped: &watch::Receiver<bool>) -> anyhow::Result<()> {
        let path = &settings.control.socket;
        let guard = self.runtime.enter();
        let listener =
            control::bind_control(path).with_context(|| format!("could not listen on {}", path.display()))?;
        drop(guard);
        self.runtime.spawn(control::serve_control(listener, Arc::clone(&self.pool), stopped.clone()));
        Ok(())
    }

    fn work(&self, settings: &Settings, facts: &Arc<Mutex<Facts>>) -> anyhow::Result<()> {
        let pool = Arc::clone(&self.pool);
        self.spawn(Some(Wake::Mirror), move || Box::new(Mirror::new(Arc::clone(&pool))))?;
        let pool = Arc::clone(&self.pool);
        self.spawn(Some(Wake::Heal), move || Box::new(Healer::new(Arc::clone(&pool))))?;
        let (pool, period) = (Arc::clone(&self.pool), signed(settings.rescan.period));
        self.spawn(Some(Wake::Rescan), move || Box::new(Watcher::new(Arc::clone(&pool), period)))?;
        let pool = Arc::clone(&self.pool);
        self.spawn(None, move || Box::new(Sweep::new(Arc::clone(&pool))))?;
        let pool = Arc::clone(&self.pool);
        self.spawn(Some(Wake::Lists), move || Box::new(Checksums::new(Arc::clone(&pool))))?;
        let pool = Arc::clone(&self.pool);
        self.spawn(Some(Wake::Metadata), move || {
            Box::new(Looking::new(Arc::clone(&pool), jiff::tz::TimeZone::system()))
        })?;
        let pool = Arc::clone(&self.pool);
        self.spawn(None, move || Box::new(Snapshots::new(Arc::clone(&pool))))?;
        let pool = Arc::clone(&self.pool);
        self.spawn(Some(Wake::Offline), move || Box::new(Offline::new(Arc::clone(&pool))))?;
        if settings.tls.is_on() {
            let (pool, settings) = (Arc::clone(&self.pool), settings.clone());
            self.spawn(Some(Wake::Certificates), move || {
                Box::new(Keeper::new(Arc::clone(&pool), reached(&settings)))
            })?;
        }
        let supervisor = Arc::downgrade(&self.supervisor);
        let reports: crate::work::health::Reports =
            Arc::new(move || supervisor.upgrade().map(|s| s.report()).unwrap_or_default());
        let (pool, facts) = (Arc::clone(&self.pool), Arc::clone(facts));
        let (limits, period) = (limits(settings), settings.health.period);
        self.spawn(Some(Wake::Health), move || {
            let (pool, reports, facts) = (Arc::clone(&pool), Arc::clone(&reports), Arc::clone(&facts));
            Box::new(HealthCheck::new(pool, limits.clone(), period, reports, facts))
        })?;
        self.follow_places(settings);
        // Last: a drive that is attached wakes the others, and they must be there to hear it.
        self.pool.all_are_watched();
        for mount in &settings.drives.mounts {
            let (pool, at) = (Arc::clone(&self.pool), mount.clone());
            let watch = move || DriveWatch::new(Arc::clone(&pool), at.clone());
            self.spawn(Some(Wake::Drives), move || Box::new(watch()))?;
            let (pool, at) = (Arc::clone(&self.pool), mount.clone());
            let scrub = move || Scrub::new(Arc::clone(&pool), at.clone(), Manners::GENTLE);
            self.spawn(Some(Wake::Scrub), move || Box::new(scrub()))?;
        }
        Ok(())
    }

    /// Where nothing is mounted nobody looks often as long as mounts are heard of. A folder that stands in for a drive is no mount.
    fn follow_places(&self, settings: &Settings) {
        let pool = Arc::clone(&self.pool);
        let heard = places::follow(settings.drives.mounts.clone(), move || pool.wake(Wake::Drives));
        match heard {
            Ok(()) => self.pool.hear_of_mounts(settings.drives.require_mount),
            Err(e) => log::warn!("nobody tells when something is mounted: {e}"),
        }
    }

    fn spawn(
        &self,
        wake: Option<Wake>,
        factory: impl FnMut() -> Box<dyn crate::work::worker::Worker> + Send + 'static,
    ) -> anyhow::Result<()> {
        let waker = Waker::new();
        if let Some(wake) = wake {
            let waker = waker.clone();
            self.pool.on_wake(wake, move || waker.wake());
        }
        self.supervisor.spawn(&waker, factory).context("could not start a worker")
    }

    fn feed_watchdog(&self) {
        let Some(period) = systemd::watchdog_period() else { return };
        let supervisor = Arc::downgrade(&self.supervisor);
        self.runtime.spawn(async move {
            // The accept loops beat at the same turns.
            let mut tick = tokio::time::interval_at(clock::next_turn(period).into(), period);
            loop {
                tick.tick().await;
                let Some(supervisor) = supervisor.upgrade() else { return };
                if supervisor.alive(clock::monotonic()) {
                    systemd::alive();
                }
            }
        });
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Where HTTP answers: the first address of the settings, with its real port.
    pub fn http_addr(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Waits for SIGTERM or SIGINT, then stops: no new connections, uploads under way get their time, workers end at a
    /// step boundary, the catalogue is put to rest. A second signal ends at once: every stop may be a power cut.
    pub fn wait(self) -> anyhow::Result<u8> {
        let mut signals = self.signals;
        self.runtime.block_on(signals.next());
        systemd::stopping();
        self.runtime.spawn(async move {
            signals.next().await;
            std::process::exit(130);
        });
        self.stop.send_replace(true);
        if let Some(directory) = &self.announced
            && let Err(e) = avahi::withdraw(directory)
        {
            log::warn!("could not have avahi announce the box no more: {e}");
        }
        let serving = self.serving;
        self.runtime.block_on(async {
            for task in serving {
                drop(tokio::time::timeout(Duration::from_secs(25), task).await);
            }
        });
        for name in self.supervisor.stop(Duration::from_secs(10)) {
            log::warn!("{name} did not end in time");
        }
        if self.pool.available().is_ok()
            && let Err(e) = self.pool.snapshot_at_stop()
        {
            log::warn!("no snapshot of the catalogue: {e}");
        }
        self.pool.rest();
        self.runtime.shutdown_timeout(Duration::from_secs(2));
        Ok(0)
    }
}

/// This machine's own NFS server.
const NFS: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 2049));

/// Whether avahi was told.
fn told(directory: &Path, offered: &Offered) -> bool {
    avahi::announce(directory, &service_file(offered)).unwrap_or_else(|e| {
        log::warn!("could not have avahi announce the box by a file in {}: {e}", directory.display());
        false
    })
}

/// What asks us to end, from the moment it is made.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen(runtime: &Runtime) -> std::io::Result<Self> {
        let _entered = runtime.enter();
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Takes SIGXFSZ over with a handler that does nothing, so that writing past a file-size limit is an error (EFBIG) and
/// not the end of the process.
fn survive_size_limit(runtime: &Runtime) -> anyhow::Result<()> {
    let _entered = runtime.enter();
    // Dropping the stream leaves the handler in place.
    drop(signal(SignalKind::from_raw(libc::SIGXFSZ))?);
    Ok(())
}

/// Opens what clients connect to.
fn bind(addresses: &[SocketAddr]) -> anyhow::Result<Vec<std::net::TcpListener>> {
    let bind = |address: &SocketAddr| {
        let listener =
            std::net::TcpListener::bind(address).with_context(|| format!("could not listen on {address}"))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    addresses.iter().map(bind).collect()
}

/// What the box's certificate names.
fn reached(settings: &Settings) -> Reached {
    let public = settings.http.public_host().map(str::to_owned);
    Reached {
        machine: nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default(),
        configured: settings.http.hosts.iter().cloned().chain(public).collect(),
        addresses: Box::new(addresses::own),
    }
}

/// Names that lead here: those of the settings, that of the address printed for phones, and the machine's own. No web
/// site can have a browser send the last of these for a name of the site's.
fn own_names(settings: &Settings) -> Vec<String> {
    let mut names = settings.http.hosts.clone();
    names.extend(settings.http.public_host().map(str::to_owned));
    names.extend(nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()));
    names.retain(|name| !name.is_empty());
    names
}

/// They are drawn by this very program, also where an update has put another one in its place meanwhile.
fn previews(pool: &Arc<Pool>, settings: &Settings) -> Previews {
    let keeping =
        Keeping { folder: settings.previews.cache.clone(), most: settings.previews.cache_mib << 20 };
    Previews::new(Tree::new(Arc::clone(pool)), keeping, Path::new("/proc/self/exe"))
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn options(settings: &Settings) -> Options {
    Options {
        mounts: settings.drives.mounts.clone(),
        require_mount: settings.drives.require_mount,
        delete_delay: signed(settings.mirror.delete_delay),
        brake: Brake { percent: settings.mirror.brake_percent, files: settings.mirror.brake_files },
        quiet: signed(settings.rescan.quiet),
        scratch_keep: signed(settings.scratch.keep),
        acknowledge_after_copy: settings.mirror.acknowledge_after_copy,
        seal_copies: settings.mirror.seal_copies,
        appliance: Appliance {
            reports: settings.drives.reports.clone(),
            requests: settings.drives.requests.clone(),
            eject_when_done: settings.offline.eject_when_done,
        },
    }
}

fn limits(settings: &Settings) -> Limits {
    let percent = |p: u64| u8::try_from(p).unwrap_or(100);
    Limits {
        slow_probe: settings.health.probe_warn,
        stuck_probe: settings.health.probe_stuck,
        filling_percent: percent(settings.health.space_warn_percent),
        full_percent: percent(settings.health.space_alarm_percent),
        offline_reminder: settings.offline.remind,
        offline_absence: settings.offline.alarm,
        ..Limits::default()
    }
}

/// Renders from what the minute check gathered: never waits for a drive.
fn metrics(pool: Arc<Pool>, facts: Arc<Mutex<Facts>>) -> Arc<dyn Fn() -> String + Send + Sync> {
    Arc::new(move || {
        let facts = facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let drives = pool.drives();
        let now = pool.now();
        let files = drives.iter().map(|d| d.tally.settled + d.tally.verified).max().unwrap_or(0);
        let numbers = |d: &crate::work::views::DriveView| DriveNumbers {
            id: d.id.map_or_else(|| d.mount.display().to_string(), |id| id.short()),
            role: d.role,
            ready: d.standing.takes_writes(),
            space: d.space,
            probe: d.probe_ms.map(Duration::from_millis),
            copies: vec![
                (CopyState::Wanted, d.tally.wanted),
                (CopyState::Settled, d.tally.settled),
                (CopyState::Verified, d.tally.verified),
                (CopyState::Missing, d.tally.missing),
                (CopyState::Damaged, d.tally.damaged),
            ],
            lag: d
                .tally
                .oldest_wanted
                .map_or(Duration::ZERO, |since| now.duration_since(since).unsigned_abs()),
            reread: d.reread,
        };
        render(&MetricsInput {
            uploads: pool.counters.received.load(Ordering::Relaxed),
            upload_bytes: pool.counters.received_bytes.load(Ordering::Relaxed),
            refused: vec![("full", pool.counters.refused_full.load(Ordering::Relaxed))],
            files,
            drives: drives.iter().map(numbers).collect(),
            findings: pool.findings().to_vec(),
            workers: facts.workers,
            resident: facts.memory,
            descriptors: facts.descriptors,
            descriptor_limit: facts.descriptor_limit,
        })
    })
}
