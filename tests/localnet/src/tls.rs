//! Certificates and TLS settings.
//!
//! Nodes present self-signed certificates that nobody verifies (network.md 2.2; P-256 as newer nodes,
//! observed-nodes 21); a seed's certificate may be pinned by its public key (network.md 1.2).

use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate cannot be made or read back.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls refuses certificate or key.
    #[error("TLS settings: {0}")]
    Settings(#[from] rustls::Error),
    /// What was kept is no base64.
    #[error("kept certificate is damaged")]
    Damaged,
}

/// A key and its certificate as kept in the state directory: base64 of PKCS #8 and of X.509.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Identity {
    key: String,
    certificate: String,
}

impl Identity {
    /// A fresh key with a certificate for `localhost` and `ip`.
    pub(crate) fn generate(ip: Ipv4Addr) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), ip.to_string()])?;
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            key: STANDARD.encode(key.serialized_der()),
            certificate: STANDARD.encode(certificate.der()),
        })
    }

    /// Settings of a listener: TLS 1.2 and 1.3, no ALPN, no resumption.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let key = STANDARD.decode(&self.key).map_err(|_| TlsError::Damaged)?;
        let certificate = STANDARD
            .decode(&self.certificate)
            .map_err(|_| TlsError::Damaged)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate)],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key)),
            )?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// Padded base64 of the SHA-256 of the subject public key info.
    pub(crate) fn pin(&self) -> Result<String, TlsError> {
        let der = STANDARD.decode(&self.key).map_err(|_| TlsError::Damaged)?;
        let key = KeyPair::try_from(der.as_slice())?;
        Ok(STANDARD.encode(Sha256::digest(key.subject_public_key_info())))
    }
}

/// Settings of nodes among themselves, and of clients of nodes: any certificate is accepted, the handshake's signature
/// is checked (network.md 2.2).
pub fn client_config() -> Result<ClientConfig, TlsError> {
    let provider = provider();
    Ok(ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
