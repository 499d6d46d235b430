//! Counts the calls of the local API, whichever service they are for.
//!
//! Bounded: a call that no service knows is counted as `other`.

use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::Code;
use tonic::codegen::{Service, http};

use sessiond_proto::code_name;

use super::counts;

/// Around all services.
#[derive(Clone)]
pub struct Counted<S>(pub S);

impl<S, B, R> Service<http::Request<B>> for Counted<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Ok(answer) = &answer {
                count(&path, code(answer.headers()));
            }
            answer
        })
    }
}

/// A refusal says its code at once; everything else began well.
fn code(headers: &http::HeaderMap) -> Code {
    let status = headers.get("grpc-status");
    status.map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes()))
}

fn count(path: &str, code: Code) {
    let method = match code {
        // Also what does not exist; that may have any name.
        Code::Unimplemented => "other",
        _ => path.trim_start_matches('/'),
    };
    tracing::debug!(method, code = code_name(code), "a call was answered");
    let labels = vec![
        ("method", method.to_owned()),
        ("code", code_name(code).to_owned()),
    ];
    counts().calls.get_or_create(&labels).inc();
}
