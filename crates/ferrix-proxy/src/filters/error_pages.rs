//! Pages in place of failures, be they of a backend or of Ferrix.
//!
//! A service that has a page is asked by a request of its own. Where it has none to give, the original
//! answer goes out: a failure is never replaced by another.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ferrix_http1::{RequestHead, ResponseHead};
use ferrix_table::{
    Table,
    filters::error_pages::{ErrorPages, Page},
    ids::ServiceIndex,
    services::Service,
};
use http::{Method, StatusCode, Version};

use crate::{
    Engine,
    subrequest::{self, Subrequest},
};

/// The longest page of a service, in bytes.
const LONGEST: usize = 256 * 1024;

/// A service may take this long.
const LIMIT: Duration = Duration::from_secs(5);

/// What a service gets of the request, beside the path of its page.
const ASKED: [&str; 3] = ["Host", "Accept", "Accept-Language"];

/// Fields that are about the body that a page takes the place of (RFC 9110, section 8; RFC 9530).
const OF_BODY: [&str; 14] = [
    "accept-ranges",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "repr-digest",
    "trailer",
];

/// Fields of a service's answer that are about its page.
const OF_PAGE: [&str; 3] = ["content-type", "content-encoding", "content-language"];

/// Pages that the request has come past, with the service that has them.
pub(crate) struct Passed {
    pages: Arc<ErrorPages>,
    /// `None`: none has, or it is gone.
    service: Option<(ServiceIndex, Arc<Service>)>,
}

impl Passed {
    pub(crate) fn new(pages: &Arc<ErrorPages>, table: &Table) -> Self {
        let index = pages.service().and_then(|service| service.as_ref().ok());
        let service = index.and_then(|index| Some((*index, Arc::clone(table.service(*index)?))));
        Self {
            pages: Arc::clone(pages),
            service,
        }
    }

    pub(crate) fn are_for(&self, status: StatusCode) -> bool {
        self.pages.are_for(status.as_u16())
    }

    /// The page in place of the body of an answer, with the fields of the answer that are not about its
    /// body. `None`: there is no page.
    pub(crate) async fn replace(
        &self,
        engine: &Engine,
        request: &RequestHead,
        answer: &ResponseHead,
    ) -> Option<(ResponseHead, Bytes)> {
        let mut head = ResponseHead::new(answer.status);
        for (name, value) in answer.fields.iter() {
            if let Ok(name) = std::str::from_utf8(name)
                && !OF_BODY.iter().any(|it| it.eq_ignore_ascii_case(name))
            {
                head.fields.append(name, value);
            }
        }
        let status = self.pages.status;
        if let Some(status) = status.and_then(|it| StatusCode::from_u16(it).ok()) {
            head.status = status;
        }
        let body = match &self.pages.page {
            Page::Here { body, content_type } => {
                let value = content_type.value.as_bytes();
                head.fields.append(&content_type.name, value);
                Bytes::from_owner(Arc::clone(body))
            }
            Page::Service { path, .. } => {
                let path = path.join(answer.status.as_str());
                let (page, body) = self.ask(engine, request, &path).await?;
                for name in OF_PAGE {
                    for value in page.fields.get_all(name) {
                        head.fields.append(name, value);
                    }
                }
                body
            }
        };
        let length = body.len().to_string();
        head.fields.append("Content-Length", length.as_bytes());
        Some((head, body))
    }

    async fn ask(
        &self,
        engine: &Engine,
        request: &RequestHead,
        path: &str,
    ) -> Option<(ResponseHead, Bytes)> {
        let (index, service) = self.service.as_ref()?;
        let mut question = RequestHead::new(Method::GET, path.as_bytes(), Version::HTTP_11);
        for name in ASKED {
            for value in request.fields.get_all(name) {
                question.fields.append(name, value);
            }
        }
        let subrequest = Subrequest {
            service,
            index: *index,
            head: &question,
            body: Bytes::new(),
            // One more tells that there is too much.
            wanted: LONGEST + 1,
            whole: false,
        };
        let exchange = subrequest::exchange(engine, &subrequest);
        let failure = match tokio::time::timeout(LIMIT, exchange).await {
            Ok(Ok(page)) if page.head.status != StatusCode::OK => {
                format!("it was answered {}", page.head.status)
            }
            Ok(Ok(page)) if page.body.len() > LONGEST => "it is too long".to_owned(),
            Ok(Ok(page)) => return Some((page.head, page.body)),
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::debug!(service = %service.id, path, failure, "an error page is missing");
        None
    }
}
