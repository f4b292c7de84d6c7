//! The webhooks: events signed as Stripe signs them (`t=…,v1=HMAC-SHA256 of "t.body"`) and posted
//! to one address, on demand twice, late and out of order; again where they are not taken.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Where webhooks go, and how.
#[derive(Clone, Debug)]
pub struct Webhooks {
    pub to: SocketAddr,
    pub path: String,
    /// The endpoint's secret, `whsec_…`.
    pub secret: String,
    pub seed: u64,
    /// Of 1,000 events so many are delivered at all.
    pub sent_per_mille: u64,
    /// Of 1,000 events so many are delivered twice.
    pub twice_per_mille: u64,
    /// Each delivery comes up to so much later, by which they change places.
    pub delay_ms_max: u64,
    /// Deliveries of one event until one is taken.
    pub tries_max: u32,
    /// Whether what is told of disputes is delivered until it is taken, whatever the above say.
    pub insists: bool,
}

impl Webhooks {
    /// Every event at once and once, to a core's endpoint at `to`.
    pub fn of_every_event(to: SocketAddr, secret: &str) -> Self {
        Self {
            to,
            path: "/webhooks/stripe".to_owned(),
            secret: secret.to_owned(),
            seed: 1,
            sent_per_mille: 1_000,
            twice_per_mille: 0,
            delay_ms_max: 0,
            tries_max: 5,
            insists: false,
        }
    }
}

/// One delivery and what it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub event: String,
    pub kind: String,
    pub status: u16,
}

/// An event that happened.
pub(super) struct Event {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) created: u64,
    pub(super) object: Value,
}

pub(super) struct Hooks {
    runtime: tokio::runtime::Handle,
    webhooks: Arc<Mutex<Option<Webhooks>>>,
    delivered: Arc<Mutex<Vec<Delivered>>>,
    /// Deliveries that are still tried until they are taken.
    insisted_on: Arc<AtomicU32>,
}

impl Hooks {
    pub(super) fn new(runtime: tokio::runtime::Handle) -> Self {
        Self {
            runtime,
            webhooks: Arc::default(),
            delivered: Arc::default(),
            insisted_on: Arc::default(),
        }
    }

    pub(super) fn configure(&self, webhooks: Webhooks) {
        *self.webhooks.lock().unwrap() = Some(webhooks);
    }

    pub(super) fn delivered(&self) -> Vec<Delivered> {
        self.delivered.lock().unwrap().clone()
    }

    pub(super) fn all_taken(&self) -> bool {
        self.insisted_on.load(Ordering::SeqCst) == 0
    }

    pub(super) fn send(&self, events: Vec<Event>) {
        let Some(webhooks) = self.webhooks.lock().unwrap().clone() else {
            return;
        };
        for event in events {
            if webhooks.insists && event.is_insisted_on() {
                self.insist(&event, &webhooks);
                continue;
            }
            let drawn = xxh3_64_with_seed(event.id.as_bytes(), webhooks.seed);
            if (drawn >> 32) % 1_000 >= webhooks.sent_per_mille {
                continue;
            }
            let copies = 1 + u64::from(drawn % 1_000 < webhooks.twice_per_mille);
            let body = body(&event);
            for copy in 0..copies {
                let delay = xxh3_64_with_seed(event.id.as_bytes(), webhooks.seed ^ (copy + 1));
                let delay = Duration::from_millis(delay % (webhooks.delay_ms_max + 1));
                let (webhooks, body) = (webhooks.clone(), body.clone());
                let (id, kind) = (event.id.clone(), event.kind.to_owned());
                let delivered = Arc::clone(&self.delivered);
                self.runtime.spawn(async move {
                    for attempt in 0..webhooks.tries_max {
                        tokio::time::sleep(delay * (attempt + 1)).await;
                        let status = post(&webhooks, &body).await.unwrap_or(0);
                        let (event, kind) = (id.clone(), kind.clone());
                        let done = Delivered {
                            event,
                            kind,
                            status,
                        };
                        delivered.lock().unwrap().push(done);
                        if (200..300).contains(&status) {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                });
            }
        }
    }

    /// Delivers it, late, until it is taken, wherever webhooks go by then; some of them twice.
    fn insist(&self, event: &Event, webhooks: &Webhooks) {
        let drawn = xxh3_64_with_seed(event.id.as_bytes(), webhooks.seed);
        let late = Duration::from_millis((drawn >> 32) % (webhooks.delay_ms_max + 1));
        let mut wanted = 1 + u32::from(drawn % 1_000 < webhooks.twice_per_mille);
        let body = body(event);
        let to = Arc::clone(&self.webhooks);
        let left = Arc::clone(&self.insisted_on);
        left.fetch_add(1, Ordering::SeqCst);
        self.runtime.spawn(async move {
            while wanted > 0 {
                tokio::time::sleep(late).await;
                let webhooks = to.lock().unwrap().clone();
                let webhooks = webhooks.expect("they were configured");
                match post(&webhooks, &body).await {
                    Ok(200..300) => wanted -= 1,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
            left.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn body(event: &Event) -> String {
    serde_json::json!({
        "id": event.id, "object": "event", "type": event.kind, "created": event.created,
        "livemode": false, "data": { "object": event.object },
    })
    .to_string()
}

/// `Stripe-Signature` of `body`, sent at `at` seconds.
pub fn signature(secret: &str, at: u64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()))
}

async fn post(webhooks: &Webhooks, body: &str) -> std::io::Result<u16> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let signature = signature(&webhooks.secret, now.as_secs(), body);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: holdfast\r\ncontent-type: application/json\r\n\
         stripe-signature: {signature}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        webhooks.path,
        body.len()
    );
    let mut stream = TcpStream::connect(webhooks.to).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let line = String::from_utf8_lossy(&answer);
    let status = line.split(' ').nth(1).and_then(|it| it.parse().ok());
    status.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidData))
}
