//! SettingsService.

use sessiond_client::{Client, v1};
use tonic::Code;

use super::Table;

pub async fn settings(client: &Client, table: &mut Table) {
    let update = async |paths: &[&str], settings: v1::Settings| {
        let request = v1::UpdateSettingsRequest {
            account: String::new(),
            settings: Some(settings),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
        };
        client.update_settings(request).await
    };
    let call = "SettingsService.UpdateSettings";
    let invalid = Code::InvalidArgument;
    let unknown = v1::Settings {
        read_receipts: true,
        notify_mode: 77,
        ..Default::default()
    };
    let outcome = update(&[], unknown).await;
    table.expect(call, "no mask", outcome, invalid, "UPDATE_MASK_EMPTY");
    let outcome = update(&["read_receipts", "colour"], unknown).await;
    table.expect(
        call,
        "no such setting",
        outcome,
        invalid,
        "UPDATE_MASK_UNKNOWN_FIELD",
    );
    let outcome = update(&["read_receipts", "notify_mode"], unknown).await;
    table.expect(call, "no such value", outcome, invalid, "SETTING_INVALID");
    let now = client.get_settings(Default::default()).await.unwrap();
    assert_eq!(
        now.settings,
        Some(v1::Settings::default()),
        "nothing was changed"
    );
}
