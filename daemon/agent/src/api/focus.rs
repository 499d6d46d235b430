//! FocusService.

use std::time::Duration;

use sessiond_proto::v1;
use sessiond_proto::v1::focus_service_server::FocusService;
use tonic::{Code, Request, Response, Status};

use super::Api;
use super::error::{from_store, invalid, status};
use crate::notify::focus::{HeldByOther, LONGEST};
use crate::store::StoreError;
use crate::store::conversations::{self, Selector};

/// Somebody else looks at the conversation.
pub fn held_by_other(error: HeldByOther) -> Status {
    status(
        Code::FailedPrecondition,
        "FOCUS_HELD_BY_OTHER",
        error.to_string(),
    )
}

#[tonic::async_trait]
impl FocusService for Api {
    async fn hold_focus(
        &self,
        request: Request<v1::HoldFocusRequest>,
    ) -> Result<Response<v1::HoldFocusResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let lasting = request
            .duration
            // By hand: the conversion of prost-types panics at the ends of its range.
            .and_then(|given| {
                let whole = Duration::from_secs(u64::try_from(given.seconds).ok()?);
                whole.checked_add(Duration::from_nanos(u64::try_from(given.nanos).ok()?))
            })
            .filter(|lasting| !lasting.is_zero() && *lasting <= LONGEST)
            .ok_or_else(|| {
                invalid(
                    "FOCUS_DURATION_INVALID",
                    "a lease lasts for more than nothing and at most 60 seconds",
                )
            })?;
        let selector = Selector::Id(request.conversation_id.clone());
        let read = async {
            let mut connection = account.context().db.readers().acquire().await?;
            conversations::get(&mut connection, &selector).await
        };
        if read
            .await
            .map_err(|error: StoreError| from_store(error))?
            .is_none()
        {
            return Err(status(
                Code::NotFound,
                "CONVERSATION_NOT_FOUND",
                "there is no such conversation",
            ));
        }
        let lease = account
            .focus()
            .hold(&request.conversation_id, &request.lease, lasting)
            .map_err(held_by_other)?;
        Ok(Response::new(v1::HoldFocusResponse { lease }))
    }

    async fn release_focus(
        &self,
        request: Request<v1::ReleaseFocusRequest>,
    ) -> Result<Response<v1::ReleaseFocusResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        account
            .focus()
            .release(&request.conversation_id, &request.lease);
        Ok(Response::new(v1::ReleaseFocusResponse {}))
    }
}
