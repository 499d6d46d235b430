//! Subaccounts of groups: making and checking auth data, signing with it, revocations.

use session_protocol::storage::request::{self, Owner, Signer};
use session_protocol::storage::signed;
use session_protocol::subaccount::{AuthData, Permissions, TOKEN_LENGTH, Token};
use session_protocol::{AccountKeys, Identifier};

use crate::support::{Case, Report};

pub fn check(case: &Case<'_>, report: &mut Report) {
    let id: Identifier = case.text("group_pubkey").parse().expect("an identifier");
    let group = id.key;
    let devices = case.object("devices");
    let admin = devices.object("ADM").keys("group_seed");
    assert_eq!(admin.ed25519_public(), group);
    for step in case.list("steps") {
        let device = devices.object(step.text("dev"));
        assert_eq!(device.array("group_pubkey"), group);
        match step.text("do") {
            "subaccount_make" => make(&step, &device),
            "subaccount_verify" => verify(&step, &device, &group),
            "subaccount_sign" => sign(&step, &device, &id),
            other => panic!("unknown step {other}"),
        }
        report.pass();
    }
    for signature in case.list("admin_signatures") {
        let signed = match signature.text("method") {
            method @ ("revoke_subaccount" | "unrevoke_subaccount") => {
                revoke(&signature, method, &admin);
                report.pass();
                signature.bytes("signed_bytes")
            }
            method if method.starts_with("group_update_") => {
                report.skip("strings of group updates, which belong to groups");
                signature.text("signed_string").into()
            }
            other => panic!("unknown method {other}"),
        };
        assert_eq!(admin.sign(&signed), signature.array("signature"));
    }
}

fn permissions(step: &Case<'_>) -> Permissions {
    let flag = |name| step.get(name).is_some_and(|_| step.flag(name));
    let wanted = [
        (flag("write"), Permissions::WRITE),
        (flag("delete"), Permissions::DELETE),
    ];
    let wanted = wanted.into_iter().filter(|(wanted, _)| *wanted);
    wanted.fold(Permissions::READ, |all, (_, more)| all.with(more))
}

fn make(step: &Case<'_>, device: &Case<'_>) {
    let out = step.object("out");
    if out.get("error").is_some() {
        // Without the group's keys there is nothing to call.
        assert!(device.get("group_seed").is_none());
        return;
    }
    let group = device.keys("group_seed");
    let member = step.account_id("id");
    let auth = AuthData::make(&group, &member, permissions(step)).expect("an account");
    assert_eq!(hex::encode(auth.as_bytes()), out.text("auth_data"));
    let token = Token::make(&group, &member, permissions(step)).expect("an account");
    assert_eq!(hex::encode(token.as_bytes()), out.text("token"));
}

fn verify(step: &Case<'_>, device: &Case<'_>, group: &[u8; 32]) {
    let valid = AuthData::from_slice(&step.bytes("auth_data"))
        .is_ok_and(|auth| auth.is_valid(group, &device.keys("seed"), permissions(step)));
    assert_eq!(valid, step.object("out").flag("valid"));
}

fn sign(step: &Case<'_>, device: &Case<'_>, group: &Identifier) {
    let out = step.object("out");
    let auth = AuthData::from_slice(&step.bytes("auth_data"));
    if out.get("error").is_some() {
        assert!(auth.is_err());
        return;
    }
    let (auth, member) = (auth.expect("auth data"), device.keys("seed"));
    let message = step.bytes("message");
    let proof = auth.prove(&member, &message).expect("a scalar");
    assert_eq!(proof.token.as_bytes(), &out.array("subaccount"));
    assert_eq!(proof.token_signature, out.array("subaccount_sig"));
    assert_eq!(proof.signature, out.array("signature"));
    let signer = Signer::Member {
        group: group.key,
        keys: &member,
        auth: &auth,
    };
    assert_eq!(signer.owner(), *group);
}

fn revoke(case: &Case<'_>, method: &str, admin: &AccountKeys) {
    let tokens: Vec<Token> = case
        .texts("tokens")
        .iter()
        .map(|token| {
            let mut bytes = [0; TOKEN_LENGTH];
            hex::decode_to_slice(token, &mut bytes).expect("a token");
            Token::from_bytes(bytes)
        })
        .collect();
    let (owner, timestamp) = (Owner::Group(admin), case.number("timestamp"));
    let (text, request) = if method == "revoke_subaccount" {
        (
            signed::revoke_subaccount(timestamp, &tokens),
            request::revoke_subaccounts(owner, &tokens, timestamp),
        )
    } else {
        (
            signed::unrevoke_subaccount(timestamp, &tokens),
            request::unrevoke_subaccounts(owner, &tokens, timestamp),
        )
    };
    assert_eq!(text, case.bytes("signed_bytes"));
    let request = request.expect("few tokens");
    assert_eq!(request.method(), method);
    let json: serde_json::Value = serde_json::from_slice(&request.to_json()).expect("a request");
    let sent = Case(&json).object("params");
    assert_eq!(sent.text("pubkey").parse::<Identifier>(), Ok(owner.id()));
    let signature = base64(sent.text("signature"));
    assert_eq!(signature, case.bytes("signature"));
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    engine.decode(text).expect("base64")
}
