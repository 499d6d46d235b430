//! TLS to service nodes and to seeds.
//!
//! A service node's certificate says nothing (network.md 2.2): any is accepted, but the handshake must be signed
//! with its key, so that at least both ends of the connection are the same. What a node says is believed because
//! of the onion layer. A seed's certificate is pinned (network.md 1.2): exactly it and no other is accepted,
//! whatever name or date it carries. No certificate authority is asked in either case.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest as _, Sha256};

/// Which certificates are accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accept {
    /// Any: service nodes.
    Any,
    /// Only the one with these digests: seeds.
    Pinned {
        /// SHA-256 of the DER subject public key info.
        key: [u8; 32],
        /// SHA-256 of the certificate.
        certificate: Option<[u8; 32]>,
    },
}

/// Client settings that accept these certificates.
pub(crate) fn client_config(accept: Accept) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Verifier {
        accept,
        algorithms: provider.signature_verification_algorithms,
    });
    Ok(with_provider(provider)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn with_provider(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

#[derive(Debug)]
struct Verifier {
    accept: Accept,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let accepted = match &self.accept {
            Accept::Any => true,
            Accept::Pinned { key, certificate } => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                let same_key = sha256(&parsed.subject_public_key_info()) == *key;
                same_key && certificate.is_none_or(|digest| sha256(end_entity) == digest)
            }
        };
        if accepted {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
