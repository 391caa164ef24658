//! The events of a reseller: the list `GET /v3/events`. `event_stream.rs` has its stream.

use axum::http::header::{self, HeaderName};

use super::Api;
use super::call::{Call, Request};
use super::cursor::Cursor;
use super::event_document::{EventDocument, answer_document};
use super::event_stream::stream;
use super::respond::{Many, Reply};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::dialects::views::Viewer;
use crate::domain::{Error, ResellerId};
use crate::service::{Context, EventRead, Slice};

/// The events that a request selects: one reseller's, after a cursor.
struct Selection {
    reseller: Option<ResellerId>,
    after: Option<Cursor>,
}

impl Selection {
    /// Reads the selection. `Last-Event-ID`, which a client sends when it reconnects to a stream,
    /// takes precedence over `after`.
    fn read(call: &Call) -> Result<Self, Failure> {
        let last = call
            .header(HeaderName::from_static("last-event-id"))
            .filter(|id| !id.is_empty());
        let after = last
            .or(call.query.cursor.as_deref())
            .filter(|text| !text.is_empty());
        Ok(Self {
            reseller: call.query.reseller()?,
            after: after.map(Cursor::decode).transpose()?,
        })
    }

    async fn events(
        &self,
        api: &Api,
        context: &Context,
        after: i64,
        limit: i64,
    ) -> Result<(ResellerId, Slice<EventRead>), Error> {
        api.service
            .events(context, self.reseller, after, limit)
            .await
    }

    fn position(&self, api: &Api, context: &Context) -> Result<i64, Failure> {
        let Some(after) = &self.after else {
            return Ok(0);
        };
        let reseller = context.principal.reseller.or(self.reseller);
        let reseller = reseller.unwrap_or(ResellerId::PLATFORM);
        let event = after.event_of(reseller)?;
        match api.service.undone_by(reseller, event) {
            // Its reader has seen changes that did not happen: going on would hide that.
            Some(restored) => Err(Failure::parameter(
                "after",
                format!(
                    "is the cursor of an event that was undone: at {} the database was restored \
                     from a backup of {}. Read the accounts again, then continue with after={}",
                    dates::write(restored.restored_at),
                    dates::write(restored.backed_up_at),
                    Cursor::event(restored.last_event, reseller).encode()
                ),
            )),
            None => Ok(event),
        }
    }
}

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<EventDocument>>, Failure> {
    let selection = Selection::read(&call)?;
    let after = selection.position(api, context)?;
    let accept = call.header(header::ACCEPT);
    if accept.is_some_and(|accept| accept.contains("text/event-stream")) {
        let reseller = context.principal.resolve_reseller(selection.reseller)?;
        let token = call.credential()?;
        let response = stream(api.clone(), token, context.clone(), reseller, after).await?;
        return Ok(Reply::response(response));
    }
    let limit = call.query.limit;
    let (reseller, events) = selection.events(api, context, after, limit).await?;
    let (viewer, format) = (Viewer::of(context, api.service.now()), call.format());
    let next = |last: i64| {
        let cursor = Cursor::event(last, reseller).encode();
        let path = call.uri.path();
        // An operator names the reseller on each page.
        let of = selection.reseller;
        let of = of.map_or_else(String::new, |it| format!("&resellerId={it}"));
        format!("<{path}?after={cursor}&limit={limit}{of}>; rel=\"next\"")
    };
    // The last page also has a link, so that the client knows where to continue later.
    let is_empty = events.rows.is_empty();
    let events = Slice {
        has_more: true,
        ..events
    };
    let document = |event: &EventRead| answer_document(event, reseller, viewer);
    let reply = Reply::page(format, events, document, |last| next(last.entry.id));
    Ok(if is_empty {
        reply.with_header(header::LINK, &next(after))
    } else {
        reply
    })
}
