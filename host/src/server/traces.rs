//! Spans of requests, sent to an OpenTelemetry collector; in builds with the feature `otlp`.
//!
//! A span has the method, the route as a template, the status and the request's id as in the log: no path, query, address
//! or identity, though the conventions ask for the path. Who sends a `traceparent` decides whether its request is recorded,
//! the ratio decides of the others: so whoever can ask can fill the queue, which holds 2048 spans, and the rest is dropped.
//! Nothing of a request waits for the collector.
//!
//! Of the variables that OpenTelemetry has for all programs (`OTEL_*`) none turns this on or off or outdoes a setting: endpoint,
//! protocol, time, sampler, queue, limits and the service's name are given here, and nothing is compressed. Two add to it:
//! `OTEL_EXPORTER_OTLP_HEADERS` (or `_TRACES_HEADERS`) to what is sent, `OTEL_RESOURCE_ATTRIBUTES` to the resource.

use crate::error::{Error, Kind, Result};
use crate::keyring::hex;
use crate::random::random;
use axum::extract::Request;
use axum::http::uri::{Authority, Parts, Scheme};
use axum::http::{self, HeaderMap, HeaderValue, Method, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    self as sdk, BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
    SpanData, SpanLimits,
};
use std::future::{Future, ready};
use std::net::ToSocketAddrs;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Spans that wait, and that are sent at a time.
const QUEUE: usize = 2048;
const BATCH: usize = 512;
/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(5);
/// In which the collector must have taken a batch, tried again or not; and the last one, when the server ends.
const TIME: Duration = Duration::from_secs(3);
/// The largest answer of a collector.
const ANSWER: usize = 64 << 10;
/// The longest `tracestate` that is taken over, in bytes; that much everybody takes (W3C Trace Context, 3.3.1.5).
const STATE: usize = 512;

/// Host and port of a collector's address; what is wrong with it otherwise.
fn collector(endpoint: &str) -> std::result::Result<Authority, String> {
    let plain = |uri: Uri| {
        let Parts { scheme, authority, path_and_query, .. } = uri.into_parts();
        let authority = authority.filter(|authority| {
            let is_whole = authority.port().is_some() || authority.as_str() == authority.host();
            is_whole && !authority.as_str().contains('@')
        });
        let is_bare = path_and_query.is_none_or(|path| path == "/");
        authority.filter(|_| scheme == Some(Scheme::HTTP) && is_bare && !endpoint.contains('#'))
    };
    let wrong = || format!("{endpoint:?} is not http://HOST:PORT");
    endpoint.parse().ok().and_then(plain).ok_or_else(wrong)
}

/// Whether spans can be sent there; what is wrong otherwise.
pub fn check(endpoint: &str) -> std::result::Result<(), String> {
    collector(endpoint).map(drop)
}

/// Where spans go, and which.
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// What requests come by: `http` or `https`.
    scheme: &'static str,
}

impl Traces {
    /// Sends them to this collector from a thread of its own; `ratio` of those requests that no other span has led to.
    ///
    /// Errors: `E-CONFIG` where the address is none; `E-IO`, `E-ENTROPY`.
    pub fn start(endpoint: &str, ratio: f64, scheme: &'static str) -> Result<Self> {
        let wrong = |what: String| Error::new(Kind::Config, format!("otlp.endpoint: {what}"));
        let collector = collector(endpoint).map_err(wrong)?;
        let endpoint = format!("http://{collector}/v1/traces");
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(collector)?)
            .with_endpoint(endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(TIME)
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        let exporter = Exporter { exporter, lost: 0.into() };
        let queue = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let instance = KeyValue::new("service.instance.id", hex(&random::<16>()?));
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder()
            .with_service_name("symbolon")
            .with_attributes([version, instance])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
            .with_span_limits(SpanLimits::default())
            .with_span_processor(
                BatchSpanProcessor::builder(exporter).with_batch_config(queue).build(),
            )
            .build();
        let tracer = provider.tracer("symbolon");
        Ok(Self { provider, tracer, scheme })
    }

    /// Begins a request's span, if it is one to record. It ends when it is dropped.
    pub fn begin(
        &self,
        request: &Request,
        route: Option<&str>,
        id: Option<&HeaderValue>,
    ) -> Option<Span> {
        let parent = TraceContextPropagator::new()
            .extract_with_context(&Context::new(), &Headers(request.headers()));
        let began = SystemTime::now();
        let builder = SpanBuilder::from_name("").with_kind(SpanKind::Server);
        let mut span = self.tracer.build_with_context(builder.with_start_time(began), &parent);
        if !span.is_recording() {
            return None;
        }
        let method = method(request.method());
        // As the conventions have it for a method that is none of theirs.
        let named = method.unwrap_or("HTTP");
        span.update_name(route.map_or(named.to_owned(), |route| format!("{named} {route}")));
        span.set_attribute(KeyValue::new("http.request.method", method.unwrap_or("_OTHER")));
        span.set_attribute(KeyValue::new("url.scheme", self.scheme));
        if let Some(route) = route {
            span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        }
        if let Some(id) = id.and_then(|id| id.to_str().ok()) {
            span.set_attribute(KeyValue::new("symbolon.request_id", id.to_owned()));
        }
        Some(Span { span: Box::new(span), began })
    }
}

/// The last spans are sent, or given up after three seconds.
impl Drop for Traces {
    fn drop(&mut self) {
        // It says itself what it gives up.
        let _ = self.provider.shutdown_with_timeout(TIME);
    }
}

/// The methods that the conventions name.
fn method(method: &Method) -> Option<&'static str> {
    let known = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    known.into_iter().find(|known| *known == method.as_str())
}

/// A request that is recorded.
pub struct Span {
    span: Box<sdk::Span>,
    began: SystemTime,
}

impl Span {
    /// It was answered, after so long.
    pub fn answered(mut self, status: u16, time: Duration) {
        self.span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if status >= 500 {
            self.span.set_attribute(KeyValue::new("error.type", status.to_string()));
            self.span.set_status(Status::error(""));
        }
        self.span.end_with_timestamp(self.began + time);
    }
}

/// What a request's headers say of the trace that it belongs to.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all(key).iter();
        let value = values.next()?.to_str().ok()?;
        let is_fit = if key == "traceparent" { is_parent(value) } else { value.len() <= STATE };
        (is_fit && values.next().is_none()).then_some(value)
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// Whether a `traceparent` has the form of W3C Trace Context, 3.2.2: the propagator takes shorter ids too.
fn is_parent(value: &str) -> bool {
    let (form, more) = value.as_bytes().split_at(value.len().min(55));
    let fits = |(at, byte): (usize, &u8)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    let goes_on = more.is_empty() || more.starts_with(b"-") && !form.starts_with(b"00");
    form.len() == 55 && goes_on && form.iter().enumerate().all(fits)
}

/// Sends spans, and says once that they are not taken, and once that they are again.
#[derive(Debug)]
struct Exporter {
    exporter: SpanExporter,
    /// Spans that were not taken since others were.
    lost: AtomicUsize,
}

impl sdk::SpanExporter for Exporter {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let sent = spans.len();
        match self.exporter.export(spans).await {
            Ok(()) => match self.lost.swap(0, Ordering::Relaxed) {
                0 => {}
                lost => tracing::warn!(lost, "otlp.endpoint takes spans again"),
            },
            Err(error) => {
                if self.lost.fetch_add(sent, Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, "otlp.endpoint takes no spans: they are lost until it does");
                }
            }
        }
        // An error would be said for every batch.
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

type Answer = std::result::Result<http::Response<Bytes>, HttpError>;

/// Posts what the exporter sends: plain HTTP/1.1, a connection each, without a proxy, on the thread that asks.
#[derive(Debug)]
struct Client {
    collector: Authority,
    runtime: Runtime,
}

impl Client {
    fn new(collector: Authority) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let error = |e| Error::new(Kind::Io, format!("spans cannot be sent: {e}"));
        Ok(Self { collector, runtime: runtime.map_err(error)? })
    }

    async fn post(&self, mut request: http::Request<Bytes>) -> Answer {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
        let to = HeaderValue::from_str(self.collector.as_str())?;
        request.headers_mut().insert(header::HOST, to);
        let host = self.collector.host().trim_start_matches('[').trim_end_matches(']');
        let port = self.collector.port_u16().unwrap_or(80);
        // Not by tokio, whose thread for it would be waited for at the end.
        let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
        let stream = TcpStream::connect(&addresses[..]).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let response = sender.send_request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
            Ok(http::Response::from_parts(head, body))
        };
        let mut exchange = pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // What it had to give it has given.
            _ = connection => exchange.await,
        }
    }
}

impl HttpClient for Client {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let answer = self.runtime.block_on(async { timeout(TIME, self.post(request)).await });
        let answer = answer.unwrap_or_else(|late| Err(late.into()));
        if let Err(error) = &answer {
            tracing::debug!(error, "spans were not sent");
        }
        Box::pin(ready(answer))
    }
}
