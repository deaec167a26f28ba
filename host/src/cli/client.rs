//! A small HTTP client: HTTP/1.1 over connections that are kept, in the clear or over TLS 1.3.

use crate::error::{Error, Kind, Result};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// In which a connection must be made, TLS and all.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The largest body that [`Connection::request`] takes.
const MAX_BODY: usize = 64 << 20;

/// A server.
pub struct Target {
    host: String,
    port: u16,
    authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    /// The server of an address such as `https://matcher.example:8320`. For https, whose certificate is to be trusted:
    /// the PEM file `ca`.
    ///
    /// Errors: `E-ARGUMENT` for what is no such address, or `ca` without https and the other way round;
    /// `E-KEY-FILE`.
    pub fn new(url: &str, ca: Option<&Path>) -> Result<Self> {
        let wrong = |what: &str| {
            Error::new(Kind::Argument, format!("{what}, not {url:?}")).in_field("--url")
        };
        let form = "an address is http://HOST:PORT or https://HOST:PORT";
        let uri: Uri = url.parse().map_err(|_| wrong(form))?;
        let authority = uri.authority().ok_or_else(|| wrong(form))?;
        if !matches!(uri.path(), "" | "/")
            || uri.query().is_some()
            || authority.as_str().contains('@')
        {
            return Err(wrong(form));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let (tls, port) = match (uri.scheme_str(), ca) {
            (Some("http"), None) => (None, 80),
            (Some("https"), Some(ca)) => {
                let name = ServerName::try_from(host.clone()).map_err(|_| wrong(form))?;
                (Some((TlsConnector::from(trust(ca)?), name)), 443)
            }
            (Some("https"), None) => return Err(wrong("https takes --ca, a PEM file")),
            (Some("http"), Some(_)) => return Err(wrong("--ca is for https")),
            _ => return Err(wrong(form)),
        };
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => port,
            // What stands there is no port.
            None => return Err(wrong(form)),
        };
        let authority = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong(form))?;
        Ok(Self { host, port, authority, tls })
    }

    /// Connects. Within a tokio runtime.
    ///
    /// Errors: `E-IO`.
    pub async fn connect(&self) -> Result<Connection> {
        let Self { host, port, .. } = self;
        let connected = timeout(CONNECT_TIME, async {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            // Small requests are not to wait for one another.
            stream.set_nodelay(true)?;
            match &self.tls {
                None => Ok(start(stream).await),
                Some((tls, name)) => Ok(start(tls.connect(name.clone(), stream).await?).await),
            }
        });
        let cannot = |what: &dyn std::fmt::Display| {
            Error::new(Kind::Io, format!("cannot connect to {host}:{port}: {what}"))
        };
        let connected: std::result::Result<_, std::io::Error> =
            connected.await.map_err(|_| cannot(&"it takes too long"))?;
        let sender = connected.map_err(|e| cannot(&e))?.map_err(|e| cannot(&e))?;
        Ok(Connection { sender, authority: self.authority.clone() })
    }
}

/// TLS 1.3 with the servers that these certificates vouch for. X25519MLKEM768 is preferred.
fn trust(ca: &Path) -> Result<Arc<rustls::ClientConfig>> {
    let error = |what: String| Error::new(Kind::KeyFile, what).in_file(ca.to_string_lossy());
    let unreadable =
        |e: &dyn std::fmt::Display| error(format!("holds no certificates that can be read: {e}"));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| unreadable(&e))? {
        let certificate = certificate.map_err(|e| unreadable(&e))?;
        roots.add(certificate).map_err(|e| unreadable(&e))?;
    }
    if roots.is_empty() {
        return Err(error("holds no certificate".into()));
    }
    let provider = aws_lc_rs::default_provider().into();
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| Error::new(Kind::Internal, e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config.into())
}

async fn start<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
) -> hyper::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; what becomes of it, whoever sends is told.
    tokio::spawn(connection);
    Ok(sender)
}

/// What `Authorization` has of the API key in a file.
///
/// Errors: `E-IO`; `E-KEY-FILE` if it holds no key.
pub fn authorization(file: &Path) -> Result<HeaderValue> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io(file, "read", &e))?;
    let text = Zeroizing::new(text);
    let bearer = Zeroizing::new(["Bearer ", text.trim()].concat());
    let key = text.trim();
    let value = HeaderValue::from_str(&bearer).ok().filter(|_| key.starts_with("sk_"));
    let mut value = value.ok_or_else(|| {
        Error::new(
            Kind::KeyFile,
            "holds no API key: sk_ and digits, as symbolon apikey create prints it",
        )
        .in_file(file.to_string_lossy())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A connection to a server; one request at a time.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: HeaderValue,
}

/// Why there is no response.
pub enum Failure {
    /// The connection was closed before anything of the request was sent: another connection can take it.
    Unsent,
    /// It broke.
    Broken(hyper::Error),
}

/// A response.
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Connection {
    /// Sends a request; the response's body is still to come.
    pub async fn send(
        &mut self,
        method: Method,
        path: &Uri,
        headers: &HeaderMap,
        body: Bytes,
    ) -> std::result::Result<Response<Incoming>, Failure> {
        if self.sender.ready().await.is_err() {
            return Err(Failure::Unsent);
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.clone();
        *request.headers_mut() = headers.clone();
        request.headers_mut().insert(HOST, self.authority.clone());
        self.sender.try_send_request(request).await.map_err(|mut error| {
            match error.take_message() {
                Some(_) => Failure::Unsent,
                None => Failure::Broken(error.into_error()),
            }
        })
    }

    /// Sends a request, and takes in the whole response, up to 64 MiB.
    ///
    /// Errors: `E-IO` if none comes.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Answer> {
        let lost = |what: &dyn std::fmt::Display| {
            Error::new(Kind::Io, format!("no answer from the server: {what}"))
        };
        let uri = path.parse().map_err(|e| lost(&e))?;
        let sent = self.send(method, &uri, headers, body).await;
        let (head, body) = match sent {
            Ok(response) => response.into_parts(),
            Err(Failure::Unsent) => return Err(lost(&"it closed the connection")),
            Err(Failure::Broken(e)) => return Err(lost(&e)),
        };
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|e| lost(&e))?;
        Ok(Answer { status: head.status, body: body.to_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let of = |url: &str| Target::new(url, None).map(|target| (target.host, target.port));
        assert_eq!(of("http://127.0.0.1:8320").unwrap(), ("127.0.0.1".to_owned(), 8320));
        assert_eq!(of("http://[::1]:1/").unwrap(), ("::1".to_owned(), 1));
        assert_eq!(of("http://localhost").unwrap(), ("localhost".to_owned(), 80));
        for wrong in [
            "",
            "localhost",
            "127.0.0.1:80",
            "ftp://x",
            "http://",
            "http://x/y",
            "http://x?y",
            "http://a@x",
            "https://x",
            "http://x:99999",
            "http://x:",
            "http://x y",
        ] {
            assert_eq!(of(wrong).unwrap_err().kind(), Kind::Argument, "{wrong}");
        }
        let ca = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls/chain.pem");
        let target = Target::new("https://[::1]", Some(&ca)).unwrap();
        assert_eq!((target.port, target.tls.is_some()), (443, true));
        assert_eq!(Target::new("http://x", Some(&ca)).err().unwrap().kind(), Kind::Argument);
        for none in [ca.with_file_name("key.pem"), ca.with_file_name("absent")] {
            let error = Target::new("https://x", Some(&none)).err().unwrap();
            assert_eq!(error.kind(), Kind::KeyFile);
        }
    }

    #[test]
    fn keys_are_read_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "sk_0123_45\n").unwrap();
        let value = authorization(&file).unwrap();
        assert_eq!(value.as_bytes(), b"Bearer sk_0123_45");
        assert!(!format!("{value:?}").contains("0123"));
        for none in ["", "\n", "secret", "sk_a\nsk_b"] {
            std::fs::write(&file, none).unwrap();
            assert_eq!(authorization(&file).unwrap_err().kind(), Kind::KeyFile, "{none:?}");
        }
        assert_eq!(authorization(dir.path()).unwrap_err().kind(), Kind::Io);
    }
}
