#!/usr/bin/env python3
"""Builds messages of every kind as somebody else's client would, to compare with this project's reader.

Written from the protocol document alone ("messages" 2.1, 2.2, 3.2, 3.5, 4): it shares no code, no schema file and no
generated code with the project, and encodes protobuf by hand. The cryptography is libsodium's, through PyNaCl.

Standard input has one JSON object a line; for each, standard output has one line of base64: the payload that is stored in
namespace 0 of the recipient's swarm. Fields:

  kind        see KINDS
  seed        the sender's 16-byte account seed, hex
  recipient   account ID
  timestamp   ms, of Envelope and Content
  ...         what the kind takes; see its function

Any kind also takes `expiration` ([type, seconds]), `sync_target`, `profile` ({name, url, key, updated}) where it may stand,
and `damage`, one of DAMAGES, for messages that must be refused.
"""

import base64
import hashlib
import json
import sys

from nacl import bindings
from nacl.signing import SigningKey


# --- protobuf, by hand ------------------------------------------------------------------------------------------------


def varint(number):
    out = bytearray()
    while True:
        low, number = number & 0x7F, number >> 7
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def number(field, value):
    return b"" if value is None else varint(field << 3) + varint(int(value))


def fixed64(field, value):
    return b"" if value is None else varint(field << 3 | 1) + int(value).to_bytes(8, "little")


def blob(field, value):
    if value is None:
        return b""
    if isinstance(value, str):
        value = value.encode()
    return varint(field << 3 | 2) + varint(len(value)) + value


def hexblob(field, value):
    return b"" if value is None else blob(field, bytes.fromhex(value))


def all_of(*parts):
    return b"".join(parts)


# --- submessages (4.3 to 4.5); fields in ascending order --------------------------------------------------------------


def loki_profile(profile):
    return all_of(
        blob(1, profile.get("name")), blob(2, profile.get("url")), number(3, profile.get("updated"))
    )


def attachment(pointer):
    return all_of(
        fixed64(1, pointer.get("id", 0)),
        blob(2, pointer.get("content_type")),
        hexblob(3, pointer.get("key")),
        number(4, pointer.get("size")),
        hexblob(6, pointer.get("digest")),
        blob(7, pointer.get("file_name")),
        number(8, pointer.get("flags")),
        number(9, pointer.get("width")),
        number(10, pointer.get("height")),
        blob(11, pointer.get("caption")),
        blob(101, pointer.get("url")),
    )


def data_message(m, **fields):
    """DataMessage with what the message `m` carries beside `fields` (already encoded, by field number)."""
    profile = m.get("profile")
    parts = {
        6: hexblob(6, profile.get("key")) if profile else b"",
        101: blob(101, loki_profile(profile)) if profile else b"",
        105: blob(105, m.get("sync_target")),
    }
    parts.update({int(name[1:]): value for name, value in fields.items()})
    return blob(1, b"".join(parts[field] for field in sorted(parts)))


def text(m):
    """body, attachments, quote {id, author}, preview {url, title, image}, invitation {url, name}, flags"""
    quote, preview, invitation = m.get("quote"), m.get("preview"), m.get("invitation")
    return data_message(
        m,
        f1=blob(1, m.get("body")),
        f2=b"".join(blob(2, attachment(pointer)) for pointer in m.get("attachments", [])),
        f4=number(4, m.get("flags")),
        f8=blob(8, number(1, quote["id"]) + blob(2, quote["author"])) if quote else b"",
        f10=blob(
            10,
            blob(1, preview["url"])
            + blob(2, preview.get("title"))
            + (blob(3, attachment(preview["image"])) if "image" in preview else b""),
        )
        if preview
        else b"",
        f102=blob(102, blob(1, invitation["url"]) + blob(3, invitation["name"])) if invitation else b"",
    )


def reaction(m):
    """id, author, emoji, remove"""
    action = 1 if m.get("remove") else 0
    inner = number(1, m["id"]) + blob(2, m["author"]) + blob(3, m["emoji"]) + number(4, action)
    return data_message(m, f11=blob(11, inner))


def expiration_timer_update(m):
    """the new timer is `expiration`"""
    return data_message(m, f4=number(4, 2))


def read_receipt(m):
    """timestamps; packed: as one field"""
    if m.get("packed"):
        times = blob(2, b"".join(varint(time) for time in m["timestamps"]))
    else:
        times = b"".join(number(2, time) for time in m["timestamps"])
    return blob(5, number(1, m.get("type", 1)) + times)


def typing(m):
    """started"""
    return blob(6, number(1, m["timestamp"]) + number(2, 0 if m["started"] else 1))


def unsend(m):
    """target, author"""
    return blob(9, number(1, m["target"]) + blob(2, m["author"]))


def request_response(m):
    """approved"""
    profile = m.get("profile")
    inner = number(1, 1 if m.get("approved", True) else 0)
    if profile:
        inner += hexblob(2, profile.get("key")) + blob(3, loki_profile(profile))
    return blob(10, inner)


def data_extraction(m):
    """target, screenshot"""
    return blob(8, number(1, 1 if m.get("screenshot") else 2) + number(2, m.get("target")))


def call(m):
    """type (number), uuid, sdps, indexes, mids"""
    return blob(
        3,
        number(1, m["type"])
        + b"".join(blob(2, sdp) for sdp in m.get("sdps", []))
        + b"".join(number(3, index) for index in m.get("indexes", []))
        + b"".join(blob(4, mid) for mid in m.get("mids", []))
        + blob(5, m["uuid"]),
    )


def group_invite(m):
    """group, name, auth (hex), signature (hex)"""
    inner = all_of(
        blob(1, m["group"]), blob(2, m["name"]), hexblob(3, m["auth"]), hexblob(4, m["signature"])
    )
    return data_message(m, f120=blob(120, blob(1, inner)))


def group_promote(m):
    """group_seed (hex), name"""
    inner = hexblob(1, m["group_seed"]) + blob(2, m["name"])
    return data_message(m, f120=blob(120, blob(4, inner)))


def read_receipt_and_text(m):
    """two kinds in one Content, which no official client writes"""
    return text(m) + read_receipt(m)


def nothing(_):
    """a Content of no known kind, with a field of a later version"""
    return blob(1001, "later")


def raw(m):
    """content: hex of the Content up to its expiration fields"""
    return bytes.fromhex(m["content"])


KINDS = {
    function.__name__: function
    for function in (
        text,
        reaction,
        expiration_timer_update,
        read_receipt,
        typing,
        unsend,
        request_response,
        data_extraction,
        call,
        group_invite,
        group_promote,
        read_receipt_and_text,
        nothing,
        raw,
    )
}

# --- layers (2.1, 2.2, 3.2, 3.5) ----------------------------------------------------------------------------------------

DAMAGES = (
    "bad_signature",  # the inner signature is over another content
    "forged_sender",  # the inner key is not the one that signed
    "other_recipient",  # signed for another account: a forwarded message
    "cipher_bit",  # one bit of the ciphertext
    "cut",  # the last byte is missing
    "other_time",  # the Content was signed for another time than the Envelope's
    "no_body",  # a frame without a request
    "pro_length",  # a proSig of 63 bytes
    "version_2",  # a payload of the second generation
    "random",  # bytes that mean nothing
    "bomb",  # a compressed frame of a few hundred bytes that would fill many megabytes
    "no_time",  # an Envelope without a timestamp
    "bad_source",  # an Envelope whose source is no ID
    "short_cipher",  # a ciphertext that is too short for anything
    "wrong_box",  # sealed for another account
    "deep",  # a Content of groups within groups
)


def content(m):
    """Content: submessage, then expiration (12, 13), then sigTimestamp (15)."""
    inner = KINDS[m["kind"]](m)
    if m.get("damage") == "deep":
        # Wire types 3 and 4 begin and end a group; field 1001 is nobody's.
        depth = 5_000
        inner += varint(1001 << 3 | 3) * depth + varint(1001 << 3 | 4) * depth
    kind, seconds = m.get("expiration") or (None, None)
    signed = m["timestamp"] + (1 if m.get("damage") == "other_time" else 0)
    return inner + number(12, kind) + number(13, seconds) + number(15, signed)


def pad(plain):
    zeros = 160 - (len(plain) + 1) % 160
    return plain + b"\x80" + bytes(zeros)


def payload(m):
    damage = m.get("damage")
    if damage not in (None, *DAMAGES):
        raise ValueError(f"no damage is called {damage}")
    if damage == "version_2":
        return b"\x00\x02" + bytes(range(256)) * 6
    if damage == "random":
        return hashlib.shake_256(b"nothing").digest(1_000)
    if damage == "bomb":
        return zstd_of_zeros(64)
    recipient = bytes.fromhex(m["recipient"])[1:]
    sender = SigningKey(bytes.fromhex(m["seed"]) + bytes(16))
    public = bytes(sender.verify_key)
    plain = pad(content(m))
    signed = plain + public + (bytes(32) if damage == "other_recipient" else recipient)
    if damage == "bad_signature":
        signed = signed[1:]
    signature = sender.sign(signed).signature
    if damage == "forged_sender":
        public = bytes(SigningKey(bytes(32)).verify_key)
    if damage == "wrong_box":
        recipient = bytes.fromhex(account_id(bytes(16)))[1:]
    sealed = bindings.crypto_box_seal(plain + public + signature, recipient)
    if damage == "short_cipher":
        sealed = sealed[:100]
    if damage == "cipher_bit":
        sealed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    # Any 64 bytes do: the reader knows no Pro key.
    pro = bytes(range(63 if damage == "pro_length" else 64))
    envelope = all_of(
        number(1, 6),
        blob(2, "me") if damage == "bad_source" else b"",
        b"" if damage == "no_time" else number(5, m["timestamp"]),
        number(7, 1),
        blob(8, sealed),
        blob(11, pro),
    )
    request = all_of(blob(1, ""), blob(2, ""), blob(3, envelope), number(4, 0))
    frame = number(1, 1) + (b"" if damage == "no_body" else blob(2, request))
    return frame[:-1] if damage == "cut" else frame


def zstd_of_zeros(megabytes):
    """A zstd frame (RFC 8878) of blocks that each stand for 128 KiB of one byte."""
    blocks = megabytes * 8
    size = 128 * 1024
    header = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x88"
    block = lambda last: (size << 3 | 1 << 1 | last).to_bytes(3, "little") + b"\x00"
    return header + block(0) * (blocks - 1) + block(1)


def account_id(seed):
    """Account ID of a 16-byte seed (1.1), for callers without one."""
    public = bytes(SigningKey(seed + bytes(16)).verify_key)
    return "05" + bindings.crypto_sign_ed25519_pk_to_curve25519(public).hex()


def main():
    for line in sys.stdin:
        if line.strip():
            print(base64.b64encode(payload(json.loads(line))).decode())


if __name__ == "__main__":
    main()
