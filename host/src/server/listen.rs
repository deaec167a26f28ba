//! Sockets: taken in up to a cap, over TLS 1.3 or not, with a limit for everything that a peer can delay.
//!
//! A connection is the peer's to delay while we have nothing to do for it (`server::traffic`): no request is under way,
//! or what there is of a response is not taken. After a while of that it is closed in order; and what is left of
//! responses, if it is not taken then either, is cut.

use super::access::{Read, Watch};
use super::peers::{Peers, Seat};
use super::traffic::Traffic;
use super::{App, Limits, api, status};
use crate::error::{Error, Kind, Result};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Requests under way of one HTTP/2 connection.
const STREAMS: u32 = 64;
/// Bytes of a request's head, and of what is read ahead.
const HEAD: usize = 16 << 10;
const BUFFER: usize = 64 << 10;
/// How often it is said, at most, that connections cannot be taken in.
const SAY: Duration = Duration::from_secs(10);
/// How often it is looked whether something has failed for good.
const LOOK: Duration = Duration::from_millis(100);

/// How sockets are served.
#[derive(Clone)]
pub struct Settings {
    /// Where; port 0 for any.
    pub listen: SocketAddr,
    /// With TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Threads.
    pub threads: usize,
    /// Connections at a time; more wait in the kernel.
    pub connections: usize,
    /// Of these from one address, or one IPv6 network; more are closed.
    pub per_address: usize,
    /// In which TLS is agreed, and then the first head must have come; and after which a connection is closed whose peer takes
    /// nothing of a response, as long as there is more of it than the 64 KiB that are ready to be sent.
    pub header_time: Duration,
    /// After which one is closed that has nothing under way any more, or only part of another head.
    pub idle_time: Duration,
    /// How long all goes on once the process is told to stop, but for `/readyz`: whoever balances loads is to look there.
    pub drain_delay: Duration,
    /// How long what is under way may take after that.
    pub drain_time: Duration,
}

/// TLS 1.3 with the certificate chain and the key of two PEM files. X25519MLKEM768 is preferred; with `only_hybrid`
/// nothing else is agreed.
///
/// Errors: `E-KEY-FILE`.
pub fn tls(chain: &Path, key: &Path, only_hybrid: bool) -> Result<Arc<rustls::ServerConfig>> {
    let error =
        |path: &Path, what: String| Error::new(Kind::KeyFile, what).in_file(path.to_string_lossy());
    let chain_of = |path: &Path| {
        CertificateDer::pem_file_iter(path)?.collect::<std::result::Result<Vec<_>, _>>()
    };
    let certificates = chain_of(chain)
        .map_err(|e| error(chain, format!("holds no certificates that can be read: {e}")))?;
    if certificates.is_empty() {
        return Err(error(chain, "holds no certificate".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| error(key, format!("holds no private key that can be read: {e}")))?;
    let mut provider = aws_lc_rs::default_provider();
    if only_hybrid {
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    }
    let mut config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, private))
        .map_err(|e| error(key, format!("does not serve with the certificates: {e}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The signals that stop a server.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    /// A terminal that has gone, or somebody who would have the settings read again: it stops nothing.
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let error = |e| Error::new(Kind::Io, format!("signals cannot be waited for: {e}"));
            Ok(Self {
                terminate: signal(SignalKind::terminate()).map_err(error)?,
                interrupt: signal(SignalKind::interrupt()).map_err(error)?,
                hangup: signal(SignalKind::hangup()).map_err(error)?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                Some(()) = self.hangup.recv() => {
                    tracing::warn!("SIGHUP changes nothing: settings are read at the start");
                }
            }
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Waits for signals, on a thread of its own as long as the process lives: the first is told, the second ends the
/// process at once, whatever it is doing.
///
/// Errors: `E-IO`.
pub(super) fn told_to_stop() -> Result<oneshot::Receiver<()>> {
    let error = |e: io::Error| Error::new(Kind::Io, format!("signals cannot be waited for: {e}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(error)?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new()?
    };
    let (tell, told) = oneshot::channel();
    let wait = move || {
        runtime.block_on(async {
            signals.next().await;
            let _ = tell.send(());
            signals.next().await;
            tracing::warn!("told to stop twice: ending at once");
            std::process::exit(1);
        })
    };
    thread::Builder::new().name("symbolon-signal".into()).spawn(wait).map_err(error)?;
    Ok(told)
}

/// Serves until told to stop or something fails for good, then lets what is under way end.
///
/// Errors: `E-IO`.
pub(super) async fn serve(
    app: Arc<App>,
    settings: &Settings,
    stop: oneshot::Receiver<()>,
    ready: impl FnOnce(SocketAddr) -> Result<()>,
) -> Result<()> {
    let address = settings.listen;
    let unusable = |e| Error::new(Kind::Io, format!("cannot listen on {address}: {e}"));
    let listener = TcpListener::bind(address).await.map_err(unusable)?;
    ready(listener.local_addr().map_err(unusable)?)?;

    let keys = tokio::spawn(watch_keys(Arc::clone(&app)));
    let measure = tokio::spawn(status::measure(Arc::clone(&app)));
    let router = api::router(Arc::clone(&app));
    let acceptor = settings.tls.clone().map(TlsAcceptor::from);
    let permits = Arc::new(Semaphore::new(settings.connections));
    let peers = Peers::new(settings.per_address);
    let (ends, end) = watch::channel(false);
    let failed = failed(&app);
    tokio::pin!(failed);
    let leaves = leaves(&app, stop, settings.drain_delay);
    tokio::pin!(leaves);
    let mut missed = Missed::default();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits, &mut missed) => accepted,
            () = &mut leaves => break,
            () = &mut failed => break,
        };
        let Some((stream, address, permit)) = accepted else { continue };
        let Some(seat) = peers.admit(address) else {
            app.http.refused.fetch_add(1, Ordering::Relaxed);
            missed.say(&io::Error::other("one address has limits.connections-per-address"));
            continue;
        };
        let connection = Connection {
            app: Arc::clone(&app),
            router: router.clone(),
            header_time: settings.header_time,
            idle_time: settings.idle_time,
            end: end.clone(),
            place: (permit, seat),
        };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // Small answers are not to wait for one another.
            let _ = stream.set_nodelay(true);
            match acceptor {
                None => connection.serve(stream).await,
                Some(acceptor) => {
                    let agreed = timeout(connection.header_time, acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = agreed {
                        connection.serve(stream).await;
                    }
                }
            }
        });
    }
    drop(listener);
    app.draining.store(true, Ordering::Relaxed);
    keys.abort();
    measure.abort();
    let connections = settings.connections.saturating_sub(permits.available_permits());
    tracing::info!(connections, "stopping: what is under way is answered");
    ends.send_replace(true);
    // Whoever ends gives its permit back.
    let all = u32::try_from(settings.connections).unwrap_or(u32::MAX);
    if timeout(settings.drain_time, permits.acquire_many(all)).await.is_err() {
        tracing::warn!("some connections did not end in time: they are cut");
    }
    Ok(())
}

/// Waits until it is told to stop, and then for as long as others may need to see that it will.
async fn leaves(app: &App, stop: oneshot::Receiver<()>, delay: Duration) {
    // Nobody tells any more where it fails.
    let _ = stop.await;
    if !delay.is_zero() {
        app.leaving.store(true, Ordering::Relaxed);
        tracing::info!(
            seconds = delay.as_secs(),
            "told to stop: not ready any more, and serving still"
        );
        sleep(delay).await;
    }
}

/// Waits until something has failed for good.
async fn failed(app: &App) {
    loop {
        if let Some((what, error)) = app.failure() {
            let (code, message) = (error.code(), error.message());
            return tracing::error!(code, message, "failed for good, so all ends: {what}");
        }
        sleep(LOOK).await;
    }
}

/// Connections that could not be taken in.
#[derive(Default)]
struct Missed {
    /// When it was said last.
    said: Option<Instant>,
    /// How often it was tried in vain since.
    tries: u64,
}

impl Missed {
    fn say(&mut self, error: &io::Error) {
        self.tries += 1;
        if self.said.is_none_or(|said| said.elapsed() >= SAY) {
            tracing::warn!(%error, tries = self.tries, "connections could not be taken in");
            *self = Self { said: Some(Instant::now()), tries: 0 };
        }
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    missed: &mut Missed,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer.ip(), permit)),
        Err(error) => {
            // No files left, or the peer has gone already.
            missed.say(&error);
            sleep(Duration::from_millis(20)).await;
            None
        }
    }
}

struct Connection {
    app: Arc<App>,
    router: axum::Router,
    header_time: Duration,
    idle_time: Duration,
    /// Turns true when all are to end.
    end: watch::Receiver<bool>,
    place: (OwnedSemaphorePermit, Seat),
}

impl Connection {
    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Self { app, router, header_time, idle_time, mut end, place } = self;
        let traffic = Traffic::new();
        let service = traffic.service(TowerToHyperService::new(router));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // It runs between requests too; the first head is waited for below.
            .header_read_timeout(header_time.max(idle_time))
            .max_buf_size(BUFFER);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD as u32)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        let served = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        tokio::pin!(served);
        app.http.opened();
        // A peer that goes, or speaks something else, is no concern of ours.
        let goes_on = tokio::select! {
            _ = &mut served => false,
            // Until it is known which protocol a peer speaks, there is no order to close it in.
            () = traffic.still(header_time, idle_time) => traffic.has_begun(),
            _ = end.wait_for(|end| *end) => true,
        };
        if goes_on {
            // A first head that has begun is waited for no longer than before.
            let Limits { body_time, .. } = app.limits;
            let time = if traffic.has_begun() { body_time } else { header_time.min(body_time) };
            traffic.moved();
            served.as_mut().graceful_shutdown();
            tokio::select! {
                _ = &mut served => (),
                () = traffic.still(time, body_time) => (),
            }
        }
        // Whoever sees that it has gone finds its place free.
        drop(place);
        app.http.closed();
    }
}

/// Has API keys read again when their file has changed.
async fn watch_keys(app: Arc<App>) {
    let mut watch = Watch::new(&app.parts.access);
    loop {
        sleep(Duration::from_millis(500)).await;
        match watch.look() {
            None => (),
            Some(Read::Again) => tracing::info!("API keys were read again"),
            Some(Read::Open) => tracing::warn!(
                "there are API keys now, and anybody is let in without one until the server is started anew"
            ),
            Some(Read::Failed(error)) => {
                let (code, message) = (error.code(), error.message());
                tracing::error!(
                    code,
                    message,
                    "API keys cannot be read again: those before stay in force"
                );
            }
        }
    }
}
