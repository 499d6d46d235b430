//! The local gRPC API of sessiond as Rust types: servers, clients and messages of package `sessiond.v1`.
//!
//! The schema in `v1/` is the source of truth and documents every call, field and reason. This crate only
//! carries what tonic and prost make of it, so that the choice of gRPC library stays behind one door.

pub mod socket;

use tonic::Code;

/// Package `sessiond.v1`.
pub mod v1 {
    #![allow(clippy::all, clippy::pedantic)]
    tonic::include_proto!("sessiond.v1");
}

/// Encoded `FileDescriptorSet` of the API with all its imports, for reflection and canonical JSON.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sessiond.v1.bin"));

/// The `domain` of every `google.rpc.ErrorInfo` the agent returns.
pub const ERROR_DOMAIN: &str = "sessiond";

/// A canonical code as gRPC spells it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
