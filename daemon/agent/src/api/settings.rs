//! SettingsService.

use sessiond_proto::v1;
use sessiond_proto::v1::settings_service_server::SettingsService;
use tonic::{Request, Response, Status};

use super::Api;
use super::error::{from_store, invalid};
use crate::store::StoreError;
use crate::store::settings::{self, NAMES, Settings};

fn shown(settings: &Settings) -> v1::Settings {
    v1::Settings {
        read_receipts: settings.read_receipts,
        typing_indicators: settings.typing_indicators,
        notification_privacy: i32::try_from(settings.notification_privacy).unwrap_or(0),
        notify_mode: i32::try_from(settings.notify_mode).unwrap_or(0),
        notification_silent: settings.notification_silent,
        media_saved_notices_off: settings.media_saved_notices_off,
    }
}

/// Takes over one field, or says that there is none of that name.
fn set(settings: &mut Settings, wanted: &v1::Settings, field: &str) -> bool {
    match field {
        "read_receipts" => settings.read_receipts = wanted.read_receipts,
        "typing_indicators" => settings.typing_indicators = wanted.typing_indicators,
        "notification_privacy" => {
            settings.notification_privacy = wanted.notification_privacy.into();
        }
        "notify_mode" => settings.notify_mode = wanted.notify_mode.into(),
        "notification_silent" => settings.notification_silent = wanted.notification_silent,
        "media_saved_notices_off" => {
            settings.media_saved_notices_off = wanted.media_saved_notices_off;
        }
        _ => return false,
    }
    true
}

#[tonic::async_trait]
impl SettingsService for Api {
    async fn get_settings(
        &self,
        request: Request<v1::GetSettingsRequest>,
    ) -> Result<Response<v1::GetSettingsResponse>, Status> {
        let account = self.account(&request.get_ref().account).await?;
        let read = async {
            let mut connection = account.context().db.readers().acquire().await?;
            settings::load(&mut connection).await
        };
        let settings = read.await.map_err(|error: StoreError| from_store(error))?;
        Ok(Response::new(v1::GetSettingsResponse {
            settings: Some(shown(&settings)),
        }))
    }

    async fn update_settings(
        &self,
        request: Request<v1::UpdateSettingsRequest>,
    ) -> Result<Response<v1::UpdateSettingsResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let fields = request.update_mask.unwrap_or_default().paths;
        if fields.is_empty() {
            return Err(invalid(
                "UPDATE_MASK_EMPTY",
                "say in update_mask which settings to change",
            ));
        }
        let wanted = request.settings.unwrap_or_default();
        let mut probe = Settings::default();
        for field in &fields {
            if !set(&mut probe, &wanted, field) {
                return Err(invalid(
                    "UPDATE_MASK_UNKNOWN_FIELD",
                    format!("there is no such setting; there are {}", NAMES.join(", ")),
                ));
            }
        }
        if v1::NotificationPrivacy::try_from(wanted.notification_privacy).is_err()
            || v1::NotifyMode::try_from(wanted.notify_mode).is_err()
        {
            return Err(invalid("SETTING_INVALID", "a setting has an unknown value"));
        }
        let now_ms = account.context().now_ms();
        let settings = account
            .context()
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    let mut current = settings::load(&mut *connection).await?;
                    for field in &fields {
                        set(&mut current, &wanted, field);
                    }
                    settings::save(connection, &current, now_ms).await?;
                    Ok(current)
                })
            })
            .await
            .map_err(from_store)?;
        Ok(Response::new(v1::UpdateSettingsResponse {
            settings: Some(shown(&settings)),
        }))
    }
}
