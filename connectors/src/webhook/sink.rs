//! Sends the rows of an epoch. State: the rows of the running epoch, and while it is prepared, the requests that are
//! left: an epoch that was interrupted by `Unavailable` goes on with the request that failed.

use super::WebhookSpec;
use crate::fnv::fnv;
use async_trait::async_trait;
use headwater_core::{Batch, DeadLetter, Epoch, Error, Prepared, Reason, Result, Sink, TaskContext};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use std::collections::VecDeque;
use std::ops::Range;

/// How much of an answer is kept for messages.
const ANSWER_BYTES_MAX: usize = 300;

/// The sender of one subtask.
pub(super) struct WebhookSink {
    spec: WebhookSpec,
    client: Client,
    /// What the keys of its requests start with, and what follows the epoch.
    node: String,
    subtask: usize,
    running: Vec<Batch>,
    sending: Option<Sending>,
    rejected: Vec<DeadLetter>,
}

/// An epoch that is being sent.
struct Sending {
    epoch: Epoch,
    values: Vec<Vec<u8>>,
    left: VecDeque<Range<usize>>,
    n_sent: usize,
}

/// What came of a request.
enum Answer {
    Taken,
    /// The rows are at fault.
    Refused(String),
}

impl WebhookSink {
    pub(super) fn new(spec: WebhookSpec, client: Client, context: &TaskContext) -> Self {
        let node = format!("{}/{}", context.pipeline, context.node);
        let (running, rejected) = (Vec::new(), Vec::new());
        Self { spec, client, node, subtask: context.subtask, running, sending: None, rejected }
    }

    /// Returns the next request of the epoch that is being sent.
    fn next(&self) -> Option<(Epoch, usize, Vec<u8>, bool)> {
        let sending = self.sending.as_ref()?;
        let range = sending.left.front()?.clone();
        let values = &sending.values[range.clone()];
        Some((sending.epoch, range.start, self.spec.body.join(values), values.len() == 1))
    }

    /// Takes down what came of that request.
    fn answered(&mut self, answer: Answer) {
        let Some(sending) = &mut self.sending else { return };
        let Some(range) = sending.left.pop_front() else { return };
        match answer {
            Answer::Taken => sending.n_sent += range.len(),
            Answer::Refused(why) if range.len() == 1 => {
                let payload = String::from_utf8_lossy(&sending.values[range.start]).into_owned();
                let position = format!("{}/{}/{}", sending.epoch, self.subtask, range.start);
                let (source, path) = (self.spec.table.clone(), String::new());
                let reason = Reason::Rejected;
                self.rejected.push(DeadLetter { reason, message: why, path, source, position, payload });
            }
            Answer::Refused(_) => {
                let middle = range.start + range.len() / 2;
                sending.left.push_front(middle..range.end);
                sending.left.push_front(range.start..middle);
            }
        }
    }

    async fn send(&self, epoch: Epoch, first: usize, body: Vec<u8>) -> Result<Answer> {
        let (node, subtask, to) = (&self.node, self.subtask, &self.spec.shown);
        // The hash tells this request from one that an earlier process sent for the epoch, which may have had other rows.
        let key = format!("{node}/{epoch}/{subtask}/{first}/{:016x}", fnv(&body));
        // A name of a node may have letters that a header cannot.
        let key: String = key.chars().map(|letter| if letter.is_ascii_graphic() { letter } else { '_' }).collect();
        let request = self.client.post(self.spec.url.clone()).header("Idempotency-Key", key);
        let request = request.header(CONTENT_TYPE, self.spec.body.media_type()).body(body);
        let response = request.send().await.map_err(|error| unreachable_error(to, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Answer::Taken);
        }
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let said = said(response).await;
        let message = format!("{to} answered {status}{said}");
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(unavailable(message, wait)),
            _ if status.is_server_error() => Err(unavailable(message, wait)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(Error::invalid(message).with_help("check the credentials in header.… and who they let in"))
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                Err(Error::invalid(message).with_help("check the option url: it must be one that takes POST"))
            }
            _ if status.is_client_error() => Ok(Answer::Refused(message)),
            _ => {
                Err(Error::invalid(message).with_help("write the address that it leads to: redirects are not followed"))
            }
        }
    }
}

fn unavailable(message: String, wait: Option<String>) -> Error {
    let asks = match wait {
        Some(seconds) if seconds.bytes().all(|byte| byte.is_ascii_digit()) => format!("; it asks to wait {seconds} s"),
        Some(time) => format!("; it asks to wait until {time}"),
        None => String::new(),
    };
    Error::unavailable(format!("{message}{asks}"))
}

fn unreachable_error(to: &str, error: reqwest::Error) -> Error {
    use std::error::Error as _;
    let error = error.without_url();
    let mut message = format!("cannot reach {to}: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        message.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    if error.is_builder() { Error::invalid(message) } else { Error::unavailable(message) }
}

/// Returns the start of an answer, after a colon; an answer that breaks off is what there is of it.
async fn said(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(ANSWER_BYTES_MAX);
    let text = String::from_utf8_lossy(&bytes);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { text } else { format!(": {text}") }
}

#[async_trait]
impl Sink for WebhookSink {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        self.running.push(batch);
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        if self.sending.is_none() {
            let values = self.spec.body.values(&self.running)?;
            self.running.clear();
            let left = self.spec.body.requests(&values).into();
            self.sending = Some(Sending { epoch, values, left, n_sent: 0 });
        }
        while let Some((epoch, first, body, is_alone)) = self.next() {
            let (n_bytes, n_max) = (body.len(), self.spec.body.bytes_max);
            let answer = match n_bytes > n_max && is_alone {
                true => Answer::Refused(format!("{n_bytes} bytes are more than the limit of {n_max}")),
                false => self.send(epoch, first, body).await?,
            };
            self.answered(answer);
        }
        let n_sent = self.sending.take().map_or(0, |sending| sending.n_sent);
        Ok(Prepared(serde_json::json!({ "sent": n_sent })))
    }

    fn take_rejected(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.rejected)
    }

    async fn commit(&mut self, _: Epoch, _: &Prepared) -> Result<()> {
        Ok(())
    }
}
